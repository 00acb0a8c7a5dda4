"""Data: reads stretches of a sequence of chunks as tables; each chunk is read once. No torch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import pyarrow as pa

from homespec.data.data_files import Chunk, DataFiles

SLAB_ROWS = 65_536


class ChunkReader:
    """Reads stretches of a sequence of chunks. It is fastest if they ascend."""

    def __init__(self, chunks: Sequence[Chunk], schema: pa.Schema, threads: bool = True) -> None:
        """Read the columns of `schema`; without `threads`, only in this thread."""
        self.chunks, self.schema, self.threads = chunks, schema, threads
        self._ends = list(accumulate(chunk.rows for chunk in chunks))
        self._starts = [0, *self._ends]
        self._at = 0
        self._chunk = -1
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._rest: pa.RecordBatch | None = None

    def table(self, low: int, high: int) -> pa.Table:
        """Rows `low` to `high` of the sequence. Raises DataError for a broken file."""
        self._seek(low)
        parts = []
        while self._at < high:
            batch = self._next()
            taken = min(batch.num_rows, high - self._at)
            skipped = min(max(0, low - self._at), taken)  # the whole batch, which ends before `low`
            if skipped < taken:
                parts.append(batch.slice(skipped, taken - skipped))
            self._at += taken
            self._rest = batch.slice(taken) if taken < batch.num_rows else None
        return pa.Table.from_batches(parts, self.schema)

    def _seek(self, place: int) -> None:
        """Continue from here if this is the right chunk, else from the right chunk's start."""
        number = bisect_right(self._ends, place)
        if self._chunk != number or self._at > place:
            self._at, self._chunk, self._rest = self._starts[number], number - 1, None
            self._batches = iter(())

    def _next(self) -> pa.RecordBatch:
        """The rows from `_at`, up to the end of the decoded batch."""
        if self._rest is not None:
            return self._rest
        batch = next(self._batches, None)
        while batch is None:
            self._chunk += 1
            if self._at != self._starts[self._chunk]:
                raise RuntimeError(f"chunk {self._chunk} does not begin with row {self._at}")
            self._batches = self.chunks[self._chunk].batches(self.schema, self.threads)
            batch = next(self._batches, None)
        return batch


def slabs(files: DataFiles, schema: pa.Schema) -> Iterator[pa.Table]:
    """All rows in order, in parts. Raises DataError for a broken file."""
    reader = ChunkReader(files.chunks, schema)
    for low in range(0, files.rows, SLAB_ROWS):
        yield reader.table(low, min(low + SLAB_ROWS, files.rows))
