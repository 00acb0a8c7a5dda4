"""Data: maps ids to positions in a vocabulary that a spec lists. No torch."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from homespec.data import DataError
from homespec.data.cell_ids import MISSING, text_id

if TYPE_CHECKING:
    from homespec.data.columns import Array

UNKNOWN = 2**62
"""Added to the remainder of an unknown id, so that it is not a position of the vocabulary."""


def places(ids: Array, texts: tuple[str, ...]) -> Array:
    """Ids int64 [N] -> positions in the vocabulary, 0 to its size - 1; missing ids stay -1.

    A cell matches a text of the vocabulary if both have the same id, so 39, `39` and `39.0` are
    equal. Unknown ids become numbers from 2**62, which differ if the lower 62 bits differ. Raises
    DataError for a vocabulary in which two texts have the same id, or a text has none.
    """
    known, order = _sorted_ids(texts)
    at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    unknown = np.where(ids == MISSING, MISSING, UNKNOWN | (ids & (UNKNOWN - 1)))
    return np.where(known[at] == ids, order[at], unknown)


@cache
def _sorted_ids(texts: tuple[str, ...]) -> tuple[Array, Array]:
    """The ids of a vocabulary in ascending order, and their positions in it."""
    by_id: dict[int, str] = {}
    for text in texts:
        number = text_id(text)
        if number == MISSING:
            raise DataError(f"has a vocabulary with {text!r}, which means missing")
        if number in by_id:
            raise DataError(
                f"has a vocabulary with {by_id[number]!r} and {text!r}, which are one id"
            )
        by_id[number] = text
    ids = np.array([*by_id], np.int64)
    order = np.argsort(ids)
    return ids[order], order
