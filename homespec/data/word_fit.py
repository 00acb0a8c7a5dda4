"""Data: counts ids in the training rows, and chooses the ids of vocabularies. No torch."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from homespec.data import DataError
from homespec.data.cell_ids import MISSING
from homespec.data.columns import Array
from homespec.data.quantile_fit import Columns
from homespec.schema.fitted_columns import WordColumn, word_columns

if TYPE_CHECKING:
    from homespec.schema.models import Spec

BATCH = 2**20
"""Maximum number of ids that are buffered before they are counted."""
EXACT = 2**53
"""Generated files find ids by their remainder modulo this, which float64 represents exactly."""


class IdCounts:
    """The distinct ids that were added, with their counts; takes 16 bytes for each id."""

    def __init__(self) -> None:
        self._ids, self._counts = np.empty(0, np.int64), np.empty(0, np.int64)
        self._waiting: list[Array] = []

    def add(self, ids: Array) -> None:
        """Add ids int64 of any shape; missing ones do not count."""
        self._waiting.append(ids[ids != MISSING])
        if sum(map(len, self._waiting)) > max(BATCH, len(self._ids)):
            self._merge()

    def _merge(self) -> None:
        new, counts = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting.clear()
        ids, at = np.unique(np.concatenate([self._ids, new]), return_inverse=True)
        summed = np.zeros(len(ids), np.int64)
        np.add.at(summed, at, np.concatenate([self._counts, counts]))
        self._ids, self._counts = ids, summed

    def all(self) -> tuple[Array, Array]:
        """The ids [N] in ascending order, and their counts [N]."""
        if self._waiting:
            self._merge()
        return self._ids, self._counts


class Frequent(NamedTuple):
    """The sufficiently frequent ids of a column, the most frequent first, and their counts."""

    ids: Array
    """int64 [N]; equally frequent ids are in ascending order."""
    counts: Array
    """int64 [N]."""
    values: int
    """Number of all counted values, including rare ids."""
    problem: str
    """Why there is no vocabulary; "" if there is one."""


class WordFit:
    """Counts the ids of each tensor whose vocabulary is fitted."""

    def __init__(self, spec: Spec) -> None:
        self.asked: dict[str, WordColumn] = word_columns(spec)
        self.rows = 0
        self.counts = {name: IdCounts() for name in self.asked}

    def add(self, columns: Columns, unusable: Collection[str] = ()) -> None:
        """Add rows; `unusable` tensors are dropped for good.

        Raises DataError for a missing column.
        """
        rows = 0
        for name in tuple(self.counts):
            if name in unusable:
                del self.counts[name]
                continue
            if name not in columns:
                raise DataError(
                    f"there is no column of the feature `{name}`, whose vocabulary must be fitted"
                )
            self.counts[name].add(columns[name])
            rows = max(rows, len(columns[name]))
        self.rows += rows

    def frequent(self, name: str) -> Frequent:
        """The ids of a tensor that occur at least `min_count` times.

        If two are equal modulo 2**53, the more frequent one is kept.
        """
        ids, counts = self.counts[name].all()
        enough = counts >= self.asked[name].min_count
        kept, often = ids[enough], counts[enough]
        order = np.lexsort([kept, -often])
        kept, often = kept[order], often[order]
        _, first = np.unique(kept % EXACT, return_index=True)
        first.sort()
        problem = "" if len(kept) else _none(self.asked[name], self.rows)
        return Frequent(kept[first], often[first], int(counts.sum()), problem)

    def previews(self) -> dict[str, Frequent]:
        """The ids that training would choose from, by tensor."""
        return {name: self.frequent(name) for name in self.counts}


def _none(asked: WordColumn, rows: int) -> str:
    """Why a column has no vocabulary."""
    times = "once" if asked.min_count == 1 else f"{asked.min_count:,} times"
    return (
        f"holds no id {times} in {rows:,} rows, so its vocabulary would be empty: give a smaller"
        " `min_count`, or remove the feature"
    )
