"""Data: counts distinct values and repeated rows in bounded memory. Needs only numpy."""

from __future__ import annotations

import numpy as np

from homespec.data.columns import Array

MAX_VALUES = 20_000_000
"""Maximum number of distinct values, or rows, that are remembered."""


class Distinct:
    """The distinct values that were added, up to `MAX_VALUES`."""

    def __init__(self) -> None:
        self._values = np.empty(0, np.int64)
        self._new: list[Array] = []
        self.full = False
        """Whether there were more. Then other values may have occurred or not."""

    def add(self, values: Array) -> None:
        """Add int64 [N]."""
        if self.full:
            return
        self._new.append(np.unique(values))
        if sum(map(len, self._new)) > max(2**20, len(self._values)):
            self._merge()

    def _merge(self) -> None:
        self._values = np.unique(np.concatenate([self._values, *self._new]))
        self._new.clear()
        self.full = len(self._values) > MAX_VALUES

    def __len__(self) -> int:
        return len(self.values)

    @property
    def values(self) -> Array:
        """The distinct values, int64 [N], ascending."""
        if self._new:
            self._merge()
        return self._values

    def count_new(self, values: Array) -> int:
        """Number of the values [N] that were not added; 0 if that is unknown."""
        if self.full or not len(self):
            return 0 if self.full else len(values)
        at = np.searchsorted(self._values, values).clip(max=len(self._values) - 1)
        return int((self._values[at] != values).sum())


class RowHashes:
    """Counts rows that repeat an earlier one, by hashes of 64 bits."""

    def __init__(self) -> None:
        self._slabs: list[Array] = []

    def start(self, rows: int) -> None:
        """Begin the next `rows` rows."""
        if sum(map(len, self._slabs)) <= MAX_VALUES:
            self._slabs.append(np.zeros(rows, np.uint64))

    def add(self, column: Array) -> None:
        """Add a column [N] or [N, width] of the present rows."""
        here = self._slabs[-1]
        if len(here) != len(column):
            return  # beyond what is remembered
        for one in column.reshape(len(column), -1).T:
            bits = np.ascontiguousarray(one)
            here ^= bits.view(f"u{bits.itemsize}").astype(np.uint64)
            here *= np.uint64(0x9E3779B97F4A7C15)
            here ^= here >> np.uint64(29)

    def repeated(self) -> int:
        """Number of repetitions; 0 if there were more rows than are remembered."""
        rows = sum(map(len, self._slabs))
        if not rows or rows > MAX_VALUES:
            return 0
        return rows - len(np.unique(np.concatenate(self._slabs)))
