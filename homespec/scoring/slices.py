"""Scoring: the rows that share a value of a column."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from homespec.data import DataError
from homespec.data.columns import Array, is_text, or_missing

MAX_SLICES = 100
"""Maximum number of values of a column, including the missing value."""

Value = str | int | float | bool | None


class Slicer:
    """Collects the rows of each value of a column, piece by piece."""

    def __init__(self, column: str, kind: pa.DataType) -> None:
        """Raises DataError if the values of the column are lists or otherwise unsuitable."""
        if pa.types.is_nested(kind):
            raise DataError(f"the column `{column}` is {kind}, but --by needs one value per row")
        self.column = column
        self._numbers: dict[Value, int] = {}
        """The number of each value, in order of appearance."""
        self._parts: list[Array] = []

    def add(self, cells: pa.ChunkedArray) -> None:
        """Add rows. Raises DataError if there are too many values."""
        encoded = _plain(cells.combine_chunks()).dictionary_encode(null_encoding="encode")
        values = encoded.dictionary.to_pylist()
        numbers = [self._numbers.setdefault(value, len(self._numbers)) for value in values]
        if len(self._numbers) > MAX_SLICES:
            raise DataError(
                f"the column `{self.column}` has more than {MAX_SLICES} values, the maximum of "
                "--by: compute a coarser column when you prepare the data, such as ranges of a "
                "number"
            )
        at = np.asarray(encoded.indices)
        self._parts.append(np.array(numbers, np.int16)[at])

    def slices(self) -> Iterator[tuple[Value, Array]]:
        """Each value with the indices of its rows, in ascending order; the missing one is last."""
        of_rows = np.concatenate(self._parts)
        for value in sorted(self._numbers, key=_place):
            yield value, np.flatnonzero(of_rows == self._numbers[value])


def _plain(cells: pa.Array) -> pa.Array:
    """A value of JSON: a number, text, true or false; null for NaN and text that means missing."""
    kind = cells.type
    if is_text(kind):
        return or_missing(cells)
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_nan(cells), None, cells)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return cells
    return cells.cast(pa.string())


def _place(value: Value) -> tuple[int, float, str]:
    """Numbers in order, including those in text; then other text, then the missing value."""
    if value is None:
        return 2, 0.0, ""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    text = str(value)  # distinguishes 1 and 1.0
    return (1, 0.0, text) if math.isnan(number) else (0, number, text)
