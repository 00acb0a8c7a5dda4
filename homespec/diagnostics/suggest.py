"""Diagnostics: did-you-mean suggestions and lists of names for help texts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

MAX_LENGTH = 64
MAX_CANDIDATES = 500
MAX_TYPOS = 3
"""Bounds that keep suggestions instant for names made up to make them slow."""


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was probably meant to be, or None if none is near.

    Nearest first: the same letters but for case and separators, then few typing mistakes, then
    the same words in another order, then one that `name` shortens or lengthens. Among equals
    the first candidate wins.
    """
    few = islice(candidates, MAX_CANDIDATES)
    distances = {candidate: _distance(name, candidate) for candidate in few}
    near = [candidate for candidate, distance in distances.items() if distance is not None]
    return min(near, key=lambda candidate: distances[candidate] or 0.0, default=None)


def listing(names: Iterable[str], limit: int = 8) -> str:
    """Names for a sentence: `` `a`, `b` and `c` ``; of more than `limit` only the first ones."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) > limit:
        quoted = [*quoted[: limit - 1], f"{len(quoted) - limit + 1} more"]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _distance(name: str, candidate: str) -> float | None:
    """How far apart two names are, None for too far."""
    if name == candidate or max(len(name), len(candidate)) > MAX_LENGTH:
        return None
    ours, theirs = _folded(name), _folded(candidate)
    if ours == theirs:
        return 0.0
    shorter = min(len(ours), len(theirs))
    limit = min(max(1, (shorter + 1) // 3), shorter - 1, MAX_TYPOS)
    typos = edits(ours, theirs, limit)
    if typos <= limit:
        return float(typos)
    if sorted(_words(name)) == sorted(_words(candidate)):
        return 4.0
    if shorter >= 3 and (ours.startswith(theirs) or theirs.startswith(ours)):
        return 5.0
    return 6.0 if shorter >= 4 and (ours.endswith(theirs) or theirs.endswith(ours)) else None


def _folded(name: str) -> str:
    return "".join(_words(name))


def _words(name: str) -> list[str]:
    return name.casefold().replace("-", "_").replace(" ", "_").replace(".", "_").split("_")


def edits(a: str, b: str, limit: int) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.

    Gives up and returns `limit + 1` once they are more than `limit`.
    """
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        row = [i]
        for j, other in enumerate(b, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
        before, last = last, row
    return min(last[-1], limit + 1)
