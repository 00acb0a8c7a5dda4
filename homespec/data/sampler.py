"""Data: assigns rows to the batches of ranks, from seed and epoch alone. Needs only numpy.

The chunks of the files are put in random order, and cut into windows of the size of the buffer;
each window is fully shuffled. The order does not depend on how rows are fetched, so it is the same
from files and from memory, with and without workers, resumed or not.

If rows have sessions, runs of rows are shuffled. Batches keep their size: the last session of a
batch may be cut, and continues in the next batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from homespec.data.columns import Array
from homespec.data.sessions import Sessions, shuffled_runs

IN_ORDER = 65_536
"""Rows of a window that is not shuffled."""


class Window(NamedTuple):
    """Positions `low` to `high` of the sequence of chunks, and their batches."""

    first: int
    """The number of the first batch."""
    end: int
    """The number after the last one."""
    low: int
    high: int
    picks: Array
    """Positions of the rows of its batches, one batch after the other.

    In evaluation, the last batches may not be full.
    """


@dataclass(frozen=True)
class WindowSampler:
    """The batches of one rank in one epoch."""

    chunk_rows: tuple[int, ...]
    batch_size: int
    seed: int = 0
    epoch: int = 0
    shuffle: int = 0
    """Rows of the buffer; 0 keeps the order of the files."""
    rank: int = 0
    world: int = 1
    training: bool = True
    """Only full batches, the same number for each rank; else every row once, in order."""
    sessions: Sessions | None = field(default=None, compare=False)
    """Rows to keep together, for the files in order."""

    @property
    def rows(self) -> int:
        """Number of rows of all ranks."""
        return sum(self.chunk_rows)

    @property
    def batches(self) -> int:
        """Number of batches of each rank."""
        together = self.batch_size * self.world
        return self.rows // together if self.training else -(-self.rows // together)

    @property
    def left_out(self) -> int:
        """Number of rows that this epoch leaves out; with shuffling, other rows in each epoch."""
        return self.rows - self.batches * self.batch_size * self.world if self.training else 0

    @property
    def shuffled(self) -> bool:
        """Whether rows are in random order."""
        return self.training and self.shuffle > 0

    @cached_property
    def chunks(self) -> Array:
        """The numbers of the chunks in the order of this epoch."""
        count = len(self.chunk_rows)
        if not self.shuffled:
            return np.arange(count)
        return np.random.default_rng([self.seed, self.epoch]).permutation(count)

    @cached_property
    def ends(self) -> Array:
        """The positions at which the chunks of the sequence end."""
        return np.cumsum(np.array(self.chunk_rows, np.int64)[self.chunks])

    def rows_at(self, places: Array) -> Array:
        """The row numbers, in the order of the files, at positions of the sequence."""
        sizes = np.array(self.chunk_rows, np.int64)
        starts = np.cumsum(sizes) - sizes
        chunk = np.searchsorted(self.ends, places, side="right")
        return places + (starts[self.chunks] - (self.ends - sizes[self.chunks]))[chunk]

    def windows(self, start: int = 0) -> Iterator[Window]:
        """The windows, beginning with the one that contains batch `start`."""
        if self.shuffled and self.rows <= self.shuffle:
            yield self._whole()
            return
        per_window = max(1, (self.shuffle if self.shuffled else IN_ORDER) // self.batch_size)
        count = -(-self.batches // per_window)
        bounds = [w * self.batches // count for w in range(count)] + [self.batches]
        for number, (first, end) in enumerate(pairwise(bounds)):
            if end > start:
                yield self._window(number, first, end)

    def _whole(self) -> Window:
        """The only window, for data that fits in the buffer: shuffled, then dealt to ranks."""
        random = np.random.default_rng([self.seed, self.epoch, 1])
        places = self._permuted(np.arange(self.rows), random)
        mine = self.batches * self.batch_size
        return Window(0, self.batches, 0, self.rows, places[self.rank * mine :][:mine])

    def _window(self, number: int, first: int, end: int) -> Window:
        begin = self.rank * self.batches
        low, high = ((begin + batch) * self.batch_size for batch in (first, end))
        taken = high - low
        if self.training and begin + end == self.batches * self.world and self.shuffled:
            high = self.rows  # drop rows that do not fill a batch, from the last window
        low, high = min(low, self.rows), min(high, self.rows)
        places = np.arange(low, high)
        if self.shuffled:
            seed = [self.seed, self.epoch, 2, self.rank, number]
            places = self._permuted(places, np.random.default_rng(seed))
        return Window(first, end, low, high, places[:taken])

    def _permuted(self, places: Array, random: np.random.Generator) -> Array:
        """Consecutive positions in random order; those of one session stay together."""
        if self.sessions is None:
            return random.permutation(places)
        rows = self.rows_at(places)
        starts = self.sessions.starts[rows]
        starts[1:] |= rows[1:] != rows[:-1] + 1  # another chunk
        return places[shuffled_runs(starts, self.batch_size, random)]
