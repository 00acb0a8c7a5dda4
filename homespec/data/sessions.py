"""Data: finds consecutive rows of the same session, so that batches keep them together.

Rows are shuffled by runs, which are consecutive rows of the files with the same id.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from homespec.data.cell_ids import MISSING
from homespec.data.chunk_reader import slabs
from homespec.data.columns import Array
from homespec.data.data_files import DataFiles
from homespec.data.plan import Plan

LOOK_AT = 2_000_000
"""Number of rows that are checked for scattered sessions."""


@dataclass(frozen=True)
class Sessions:
    """The sessions of the rows of files, by a column of ids."""

    files: DataFiles
    column: str
    held: Array | None = None
    """The ids of all rows in order, if they are in memory."""

    @property
    def starts(self) -> Array:
        """Whether each row begins a run, bool [N]. Raises DataError for broken files."""
        return self._runs[0]

    @property
    def scattered(self) -> float:
        """The share of sessions with several runs, among the first rows of the files."""
        return self._runs[1]

    @cached_property
    def _runs(self) -> tuple[Array, float]:
        """Reads the column unless it is in memory."""
        ids = self.read() if self.held is None else self.held
        starts, some = run_starts(ids), slice(LOOK_AT)
        return starts, scattered(ids[some][starts[some]])

    def read(self) -> Array:
        """The ids of all rows, int64 [N]. Raises DataError for data that cannot be read."""
        plan = Plan((), {}, frozenset(), sessions=self.column)
        schema = self.files.schema(plan.wanted, plan.exact)
        parts = [plan.read(table, self.files).sessions for table in slabs(self.files, schema)]
        return np.concatenate(
            [np.empty(0, np.int64), *[part for part in parts if part is not None]]
        )


def run_starts(ids: Array) -> Array:
    """Whether each row begins a run of equal ids, bool [N]; a row without an id is its own run."""
    starts = np.ones(len(ids), bool)
    starts[1:] = (ids[1:] != ids[:-1]) | (ids[1:] == MISSING)
    return starts


def shuffled_runs(starts: Array, most: int, random: np.random.Generator) -> Array:
    """An order of N rows in which runs are shuffled and rows within a run keep their order.

    starts: bool [N], of which the first counts as true. A run of more than `most` rows is split.
    """
    begins = np.flatnonzero(starts)
    begins = np.concatenate([[0], begins[begins > 0]])[: len(starts)]
    begins = _split(begins, len(starts), most)
    lengths = np.diff(begins, append=len(starts))
    order = random.permutation(len(begins))
    begins, lengths = begins[order], lengths[order]
    offsets = np.cumsum(lengths) - lengths
    places: Array = np.repeat(begins - offsets, lengths) + np.arange(len(starts))
    return places


def _split(begins: Array, rows: int, most: int) -> Array:
    """The beginnings of runs, none of which is longer than `most`."""
    lengths = np.diff(begins, append=rows)
    parts = -(-lengths // most)
    first = np.cumsum(parts) - parts
    number = np.arange(parts.sum()) - np.repeat(first, parts)
    split: Array = np.repeat(begins, parts) + most * number
    return split


def scattered(ids: Array) -> float:
    """The share of sessions with several runs, from the ids of all runs [R]."""
    _, runs = np.unique(ids[ids != MISSING], return_counts=True)
    return float((runs > 1).mean()) if len(runs) else 0.0


def compared(sessions: Array, labels: Array, counts: Array) -> Array:
    """Which rows have a row with the other label in their session, bool [N].

    sessions: ids [N]; labels: [N]; counts: whether a row counts, bool [N], which one without a
    label does not.
    """
    _, places = np.unique(sessions, return_inverse=True)
    counts = counts & (sessions != MISSING) & ~np.isnan(labels)
    positive, negative = counts & (labels > 0), counts & (labels < 1)
    positives, negatives = (
        np.bincount(places, own, places.max(initial=0) + 1) > 0 for own in (positive, negative)
    )
    return (positive & negatives[places]) | (negative & positives[places])
