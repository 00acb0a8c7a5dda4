"""Diagnostics: did-you-mean suggestions and lists of names for help texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice

SEPARATORS = re.compile(r"[-_ .]")

MAX_LENGTH = 64
MAX_CANDIDATES = 500
MAX_COMPARED = 20
MAX_TYPOS = 3
"""Limits that keep suggestions fast even for names that are made up to be slow."""


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` probably means, or None if none is close.

    Closest first: the same letters except for case and separators, then few typing mistakes, then
    the same words in another order, then a candidate that `name` shortens or lengthens. Among
    equals, one that continues `name` wins, then one with the same ends (`colums` is `columns`, not
    `column`), then the first.
    """
    if len(name) > MAX_LENGTH:
        return None
    known = [c for c in islice(candidates, MAX_CANDIDATES) if c != name and len(c) <= MAX_LENGTH]
    distances = {c: distance for c in known if (distance := _likeness(name, c)) is not None}
    for candidate, typos in _typos(name, known):
        distances[candidate] = min(typos, distances.get(candidate, typos))

    def rank(candidate: str) -> tuple[int, bool, int, int]:
        ends = (candidate[:1] != name[:1]) + (candidate[-1:] != name[-1:])
        return distances[candidate], not candidate.startswith(name), ends, known.index(candidate)

    return min(distances, key=rank, default=None)


def listing(names: Iterable[str], limit: int = 14) -> str:
    """Names for a sentence: `` `a`, `b` and `c` ``; at most the first `limit` names."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) > limit:
        quoted = [*quoted[: limit - 1], f"{len(quoted) - limit + 1} more"]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _likeness(name: str, candidate: str) -> int | None:
    """Returns a distance between names that are alike as a whole, None for others."""
    ours, theirs = folded(name), folded(candidate)
    if ours == theirs:
        return 0
    if len(ours) == len(theirs) and _words(name) == _words(candidate):
        return MAX_TYPOS + 1
    shorter = min(len(ours), len(theirs))
    if shorter >= 3 and (ours.startswith(theirs) or theirs.startswith(ours)):
        return MAX_TYPOS + 2
    if shorter >= 4 and (ours.endswith(theirs) or theirs.endswith(ours)):
        return MAX_TYPOS + 3
    return None


def _typos(name: str, candidates: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Candidates that differ by few letters, with that number. Only the likeliest are compared."""
    ours = folded(name)
    letters = [(letter, ours.count(letter)) for letter in set(ours)]
    likely = []
    for candidate in candidates:
        theirs = folded(candidate)
        if abs(len(ours) - len(theirs)) > MAX_TYPOS:
            continue
        shorter = min(len(ours), len(theirs))
        limit = min(max(1, (shorter + 1) // 3), shorter - 1, MAX_TYPOS)
        absent = sum(max(0, number - theirs.count(letter)) for letter, number in letters)
        if absent <= limit:
            likely.append((absent, candidate, theirs, limit))
    likely.sort(key=lambda likely: likely[0])
    for _, candidate, theirs, limit in likely[:MAX_COMPARED]:
        if (typos := edits(ours, theirs, limit)) <= limit:
            yield candidate, typos


@lru_cache(maxsize=2 * MAX_CANDIDATES)
def folded(name: str) -> str:
    """The letters of a name, without case and separators."""
    return SEPARATORS.sub("", name).casefold()


def _words(name: str) -> list[str]:
    return sorted(SEPARATORS.split(name.casefold()))


def edits(a: str, b: str, limit: int) -> int:
    """Number of insertions, deletions, substitutions and swaps of neighbours from `a` to `b`.

    Gives up and returns `limit + 1` when there are more than `limit`, so only letters at most
    `limit` positions apart are compared.
    """
    far = limit + 1
    if abs(len(a) - len(b)) > limit:
        return far
    before: list[int] = []
    last = [min(j, far) for j in range(len(b) + 1)]
    for i, letter in enumerate(a, start=1):
        row = [far] * (len(b) + 1)
        row[0] = min(i, far)
        for j in range(max(1, i - limit), min(len(b), i + limit) + 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != b[j - 1]))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == b[j - 1]:
                cost = min(cost, before[j - 2] + 1)
            row[j] = min(cost, far)
        if min(row) == far:
            return far
        before, last = last, row
    return last[-1]
