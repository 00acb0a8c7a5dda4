"""Drafting: finds columns that are functions of an id, such as attributes of a user or an item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from homespec.data.columns import Array
from homespec.drafting import name_words as names
from homespec.drafting.seen import Seen

MIXED = 0.01
"""Largest share of ids with several values, among those that would have several by chance."""
EXPECTED = 5.0
"""Minimum number of such ids for a verdict."""
MIN_DIFFERENT = 20
"""Minimum number of ids of an entity."""


def entities(columns: Iterable[Seen]) -> Iterator[Seen]:
    """Columns with ids of users, items and similar entities, each in several rows."""
    for seen in columns:
        named = names.has(seen.name, names.IDS)
        if named and seen.ids is not None and seen.distinct >= MIN_DIFFERENT and seen.repeats > 1.5:
            yield seen


def owner_of(seen: Seen, entities: Iterable[Seen]) -> str:
    """The id of which the column is a function; "" if there is none."""
    for entity in entities:
        if entity.name != seen.name and seen.distinct <= entity.distinct and _is_of(seen, entity):
            return entity.name
    return ""


def _is_of(seen: Seen, entity: Seen) -> bool:
    """Whether all rows of an id have the same value, although many would differ by chance."""
    both = (seen.codes >= 0) & (entity.codes >= 0)
    ids, values = entity.codes[both], seen.codes[both]
    if not len(ids):
        return False
    order = np.argsort(ids, kind="stable")
    ids, values = ids[order], values[order]
    starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
    sizes = np.diff(np.append(starts, len(ids)))
    mixed = np.minimum.reduceat(values, starts) != np.maximum.reduceat(values, starts)
    chance = _chance(seen, sizes)
    return chance >= EXPECTED and int(mixed.sum()) <= MIXED * chance


def _chance(seen: Seen, sizes: Array) -> float:
    """Expected number of ids, with `sizes` rows each, that would have several values by chance."""
    shares = seen.counts / max(1, seen.counts.sum())
    unique, many = np.unique(sizes, return_counts=True)
    same = np.array([np.sum(shares ** float(size)) for size in unique[unique > 1]])
    return float(((1 - same) * many[unique > 1]).sum())
