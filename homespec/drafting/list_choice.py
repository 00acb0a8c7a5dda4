"""Drafting: columns of lists: a history of the user, pooled ids of the candidate, or a vector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from homespec.drafting import name_words as names
from homespec.drafting.choice import Choice, LeftOut, nice, share, width
from homespec.drafting.id_choice import buckets_for
from homespec.drafting.name_words import feature_name
from homespec.drafting.seen import Seen, SeenLists

LONGEST = 50
"""Maximum number of values of a list, or events, that are kept."""
COVERED = 0.99
"""Share of lists that are kept completely."""
OVERLAP = 0.3
"""Minimum share of a history's values that are also ids of the candidate's column."""
MIN_SHARED = 5
"""Minimum number of distinct values of a history, because 0 and 1 are common ids."""
MAX_VECTOR = 4096
PROJECTED = 64
"""A wider vector is projected to this width."""
MAX_NUMBER = 1e30
"""Larger numbers may overflow float32 in computations."""


def choose_lists(lists: Iterable[SeenLists], ids: Mapping[str, Seen]) -> list[Choice | LeftOut]:
    """Features of the columns of lists; `ids` are the columns of features that have ids."""
    rest = list(lists)
    candidates = {seen.name: column for seen in rest if (column := _candidate(seen, ids))}
    found: list[Choice | LeftOut] = []
    while rest:
        first = next((seen for seen in rest if seen.name in candidates), None)
        if first is None:
            found += map(_choose, rest)
            break
        fields: dict[str, SeenLists] = {}
        others: list[SeenLists] = []
        for seen in rest:
            name = candidates.get(seen.name, "")
            if _alike(first, seen) and name not in fields:
                if name:
                    fields[name] = seen
                elif seen.elements.ids is not None:
                    others.append(seen)
        found.append(_history(fields, others))
        rest = [seen for seen in rest if seen not in (*fields.values(), *others)]
    return found


def _alike(one: SeenLists, other: SeenLists) -> bool:
    """Whether two columns are fields of the same events."""
    return (one.separator, one.padding) == (other.separator, other.padding) and bool(
        (one.sizes == other.sizes).all()
    )


def _choose(seen: SeenLists) -> Choice | LeftOut:
    elements, longest = seen.elements, int(seen.sizes.max(initial=0))
    if not elements.distinct:
        return LeftOut(seen.name, "every list is empty")
    vector = _vector(seen)
    if vector is not None:
        return vector
    if elements.ids is None:
        return LeftOut(
            seen.name, f"lists of numbers, up to {longest:,} long: neither ids nor vectors"
        )
    table, said = buckets_for(elements)
    options: dict[str, Any] = {"id": table, "list": _of_lists(seen)}
    comment = f"{_lengths(seen)}; {elements.distinct:,} ids{said}"
    return Choice(seen.name, options, comment, width(elements.expected))


def _vector(seen: SeenLists) -> Choice | None:
    """A vector, if all existing lists have the same number of elements and contain fractions."""
    sizes = np.unique(seen.sizes[seen.sizes > 0])
    elements, numbers = seen.elements, seen.elements.numbers
    floats = pa.types.is_floating(seen.kind) or pa.types.is_decimal(seen.kind)
    if len(sizes) != 1 or numbers is None or (elements.is_whole and not floats):
        return None
    wide = int(sizes[0])
    if wide > MAX_VECTOR or not (np.abs(numbers) <= MAX_NUMBER).all():
        return None
    options: dict[str, Any] = {"dense": wide}
    if wide > PROJECTED:
        options["project"] = PROJECTED
    absent = int((seen.sizes == 0).sum())
    missing = f"; {share(absent, seen.rows)} missing" if absent else ""
    return Choice(seen.name, options, f"vectors of {wide} numbers{missing}")


def _candidate(seen: SeenLists, ids: Mapping[str, Seen]) -> str:
    """The column whose ids a history contains, by values and name; "" if there is none."""
    if seen.elements.ids is None or int(seen.sizes.max(initial=0)) < 2:
        return ""
    own = np.unique(seen.elements.ids)
    best, most = "", 0.0
    for name, candidate in ids.items():
        assert candidate.ids is not None
        if candidate.is_text != seen.elements.is_text or len(own) < MIN_SHARED:
            continue
        overlap = float(np.isin(own, candidate.ids).mean())
        is_named = set(names.words(name)) - {"id"} <= set(names.words(seen.name))
        is_history = names.has(seen.name, names.HISTORY)
        score = overlap + is_named + is_history
        if overlap >= OVERLAP and (is_named or is_history) and score > most:
            best, most = name, score
    return best


def _history(fields: Mapping[str, SeenLists], others: Iterable[SeenLists]) -> Choice:
    """A sequence: fields by the candidate's column, and `others` that only events have."""
    first = next(iter(fields.values()))
    own: dict[str, SeenLists] = {}
    for seen in others:
        own[feature_name(seen.name, (*fields, *own))] = seen
    columns = {name: seen.name for name, seen in (*fields.items(), *own.items())}
    options: dict[str, Any] = {
        "of": list(fields),
        **({"with": {name: _field(seen) for name, seen in own.items()}} if own else {}),
        "max_len": _max_len(first),
        "encoder": "din",
        "columns": columns,
        **_written(first),
    }
    what = " and ".join(fields)
    return Choice(first.name, {"sequence": options}, f"{_lengths(first)}; ids as in {what}")


def _field(seen: SeenLists) -> dict[str, Any]:
    """A field that only events have, with its own table."""
    return {"id": buckets_for(seen.elements)[0], "dim": width(seen.elements.expected)}


def _of_lists(seen: SeenLists) -> dict[str, Any]:
    return {"max_len": _max_len(seen), **_written(seen)}


def _written(seen: SeenLists) -> dict[str, str]:
    """How the lists are written, if that is unusual."""
    separator = {"separator": seen.separator} if seen.separator else {}
    return separator | ({"padding": seen.padding} if seen.padding else {})


def _max_len(seen: SeenLists) -> int:
    sizes = seen.sizes[seen.sizes > 0]
    longest = float(np.quantile(sizes, COVERED)) if len(sizes) else 2.0
    return max(2, min(LONGEST, nice(longest)))


def _lengths(seen: SeenLists) -> str:
    empty = int((seen.sizes == 0).sum())
    said = f", {share(empty, seen.rows)} empty" if empty else ""
    return (
        f"lists of {seen.sizes.mean():.1f} on average, {seen.sizes.max(initial=0):,} at most{said}"
    )
