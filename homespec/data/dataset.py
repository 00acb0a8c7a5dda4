"""Data: the batches of one rank in one epoch, read from files or from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from torch.utils.data import IterableDataset, get_worker_info

from homespec.data.batches import Batch, as_batch
from homespec.data.chunk_reader import ChunkReader
from homespec.data.columns import Array
from homespec.data.data_files import DataFiles
from homespec.data.plan import Arrays, Plan
from homespec.data.prefetch import prefetched
from homespec.data.sampler import Window, WindowSampler
from homespec.data.sessions import Sessions

if TYPE_CHECKING:
    from homespec.schema.models import Spec

SHUFFLE_ROWS = 262_144
SLAB_ROWS = 16_384
"""Rows that are converted at a time."""


class BatchDataset(IterableDataset[Batch]):
    """Batches of one size, in an order that depends only on seed and epoch.

    In training, every batch is full, all ranks get the same number, and `left_out` rows are left
    out. In evaluation, every row occurs once over all ranks, in order. All ranks get the same
    number of batches, and the last ones are padded with rows of missing values without labels.

    Batch k of a rank does not depend on `start`, `cached` and the number of workers. Worker w of W
    yields the batches start + w, start + w + W, …, so a DataLoader restores their order. Each
    worker reads all windows, but converts only its own rows.
    """

    def __init__(
        self,
        spec: Spec,
        files: DataFiles,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        shuffle: int = SHUFFLE_ROWS,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        training: bool = True,
        users: str | None = None,
        cached: Arrays | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        """Read what `spec` needs of `files`; `users` names the column of users.

        `shuffle` is the buffer in rows, 0 for the order of the files; `start` is the
        first batch of this rank. `cached` are the rows in memory (`homespec.data.in_memory`).
        `sessions` are kept together; by default those of the column that `spec` names, which is
        then read once more.
        Raises DataError if a column is missing; iterating raises it if a column cannot serve, or a
        file is broken.
        """
        super().__init__()
        self.plan = Plan.of(spec, users)
        if not training:  # no losses are computed
            self.plan = replace(self.plan, sessions=None)
        elif sessions is None and self.plan.sessions is not None:
            sessions = Sessions(files, self.plan.sessions)
        self.files = files
        self.schema = files.schema(self.plan.wanted, self.plan.exact)
        self.batch_size, self.start, self.cached = batch_size, start, cached
        sizes = tuple(chunk.rows for chunk in files.chunks)
        self.sampler = WindowSampler(
            sizes, batch_size, seed, epoch, shuffle, rank, world, training, sessions
        )

    def __len__(self) -> int:
        """Number of batches of this rank in the whole epoch, including those that `start` skips."""
        return self.sampler.batches

    @property
    def left_out(self) -> int:
        """Number of rows, over all ranks, that this epoch leaves out."""
        return self.sampler.left_out

    def __iter__(self) -> Iterator[Batch]:
        """The batches from `start`; in a worker, its share of them."""
        worker = get_worker_info()
        if worker is None:
            for slab in prefetched(self._slabs(range(self.start, len(self)), threads=True)):
                yield from map(as_batch, slab.split(self.batch_size))
            return
        share = range(self.start + worker.id, len(self), worker.num_workers)
        for slab in self._slabs(share, threads=False):
            for batch in slab.split(self.batch_size):  # a view would be sent with the whole slab
                yield as_batch(batch.map(np.copy))

    def _slabs(self, numbers: range, threads: bool) -> Iterator[Arrays]:
        """The batches with these numbers, converted in larger pieces."""
        chunks = [self.files.chunks[number] for number in self.sampler.chunks]
        reader = ChunkReader(chunks, self.schema, threads)
        at_once = max(1, SLAB_ROWS // self.batch_size)
        for window in self.sampler.windows(self.start):
            mine = [number for number in range(window.first, window.end) if number in numbers]
            if not mine:
                continue
            rows = self._from_files(window, reader) if self.cached is None else self._from_memory
            for low in range(0, len(mine), at_once):
                batches = mine[low : low + at_once]
                arrays, wanted = rows(self._picks(window, batches)), len(batches) * self.batch_size
                yield arrays if arrays.rows == wanted else arrays.padded(wanted)

    def _picks(self, window: Window, batches: list[int]) -> Array:
        """The positions of the rows of a window's batches."""
        starts = ((batch - window.first) * self.batch_size for batch in batches)
        return np.concatenate([window.picks[start : start + self.batch_size] for start in starts])

    def _from_files(self, window: Window, reader: ChunkReader) -> Callable[[Array], Arrays]:
        """Read a window, and return a function that converts the rows at given positions in it."""
        table = reader.table(window.low, window.high).combine_chunks()
        return lambda places: self.plan.read(table.take(pa.array(places - window.low)), self.files)

    def _from_memory(self, places: Array) -> Arrays:
        assert self.cached is not None
        at = self.sampler.rows_at(places)
        return self.cached.map(lambda column: column[at])
