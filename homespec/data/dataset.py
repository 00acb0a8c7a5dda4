"""Data: a source -> the batches of one rank in one epoch, from files or from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from torch.utils.data import IterableDataset, get_worker_info

from homespec.data import DataError
from homespec.data.batches import Batch, as_batch, split
from homespec.data.chunk_reader import ChunkReader
from homespec.data.columns import Array
from homespec.data.files import DataFiles
from homespec.data.plan import Arrays, Plan, padded
from homespec.data.prefetch import prefetched
from homespec.data.sampler import Window, WindowSampler

if TYPE_CHECKING:
    from homespec.schema.models import Spec

SHUFFLE_ROWS = 262_144
SLAB_ROWS = 16_384
"""Rows that are converted at a time."""


class BatchDataset(IterableDataset[Batch]):
    """Batches of one size, in an order that depends on seed and epoch alone.

    In training every batch is full, each rank gets as many, and `left_out` rows are left out. In
    evaluation every row occurs once over all ranks, in order; each rank gets as many batches, the
    last of which are filled up with rows of missing values that have no labels.

    Batch k of a rank is the same whatever `start`, `cached` and the number of workers are. A worker
    w of W yields the batches start + w, start + w + W, …, so a DataLoader restores their order;
    each reads all windows and converts only its own rows.
    """

    def __init__(
        self,
        spec: Spec,
        source: DataFiles,
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
    ) -> None:
        """Stream the rows of `source` that `spec` needs; `users` names the column of users.

        `shuffle` is the buffer in rows, 0 for the order of the files; `start` skips so many
        batches of this rank. `cached` are the rows in memory (`homespec.data.in_memory`). Raises
        DataError if a column is missing; iterating raises it if a column cannot serve, or a file
        is broken.
        """
        super().__init__()
        self.plan = Plan.of(spec, users)
        self.source = source
        self.schema = source.schema(self.plan.wanted, self.plan.exact)
        self.batch_size, self.start, self.cached = batch_size, start, cached
        sizes = tuple(chunk.rows for chunk in source.chunks)
        self.order = WindowSampler(sizes, batch_size, seed, epoch, shuffle, rank, world, training)

    def __len__(self) -> int:
        """The batches of this rank in the whole epoch, also where `start` skips some."""
        return self.order.batches

    @property
    def left_out(self) -> int:
        """The rows, of all ranks together, that this epoch leaves out."""
        return self.order.left_out

    def __iter__(self) -> Iterator[Batch]:
        """The batches from `start` on; of a worker, its share."""
        worker = get_worker_info()
        if worker is None:
            for slab in prefetched(self._slabs(range(self.start, len(self)), threads=True)):
                yield from split(slab, self.batch_size)
            return
        share = range(self.start + worker.id, len(self), worker.num_workers)
        for slab in self._slabs(share, threads=False):
            for batch in split(slab, self.batch_size):  # a view would be sent with all of the slab
                yield _copied(batch)

    def _slabs(self, numbers: range, threads: bool) -> Iterator[Batch]:
        """The batches of these numbers, several in one piece."""
        fetch = self._from_files(threads) if self.cached is None else self._from_memory
        at_once = max(1, SLAB_ROWS // self.batch_size)
        for window in self.order.windows(self.start):
            mine = _between(numbers, window.first, window.end)
            if not mine:
                continue
            rows = fetch(window)
            for low, high in pairwise([*range(0, len(mine), at_once), len(mine)]):
                yield as_batch(self._slab(window, mine[low:high], rows))

    def _slab(self, window: Window, numbers: range, rows: Callable[[Array], Arrays]) -> Arrays:
        size = self.batch_size
        starts = [(number - window.first) * size for number in numbers]
        picks = np.concatenate([window.picks[start : start + size] for start in starts])
        try:
            arrays = rows(picks)
        except DataError as error:
            raise DataError(f"{self.source}: {error}") from None
        wanted = len(numbers) * size
        return arrays if len(picks) == wanted else padded(arrays, self.plan, wanted)

    def _from_files(self, threads: bool) -> Callable[[Window], Callable[[Array], Arrays]]:
        """A function that reads a window, and gives one that converts rows of it."""
        chunks = [self.source.chunks[number] for number in self.order.chunks]
        reader = ChunkReader(chunks, self.schema, threads)

        def fetch(window: Window) -> Callable[[Array], Arrays]:
            table = reader.table(window.low, window.high).combine_chunks()
            return lambda picks: self.plan.convert(table.take(pa.array(picks - window.low)))

        return fetch

    def _from_memory(self, window: Window) -> Callable[[Array], Arrays]:
        cached = self.cached
        assert cached is not None

        def rows(picks: Array) -> Arrays:
            at = self.order.rows_at(picks)
            return Arrays(
                {name: column[at] for name, column in cached.features.items()},
                {task: column[at] for task, column in cached.labels.items()},
                None if cached.users is None else cached.users[at],
            )

        return rows


def _between(numbers: range, low: int, high: int) -> range:
    """Those of the numbers that are at least `low` and below `high`."""
    skipped = max(0, -(-(low - numbers.start) // numbers.step))
    first = numbers.start + skipped * numbers.step
    return range(first, min(high, numbers.stop), numbers.step)


def _copied(batch: Batch) -> Batch:
    return Batch(
        {name: column.clone() for name, column in batch.features.items()},
        {task: column.clone() for task, column in batch.labels.items()},
        None if batch.users is None else batch.users.clone(),
    )
