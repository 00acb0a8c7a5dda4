"""Scoring: the rows of files in order, converted piece by piece.

A piece holds whole batches, so the rows of a batch depend only on the order of rows, not on files,
row groups or pieces. Memory is bounded by a few pieces and the largest row group.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from homespec.data import DataError
from homespec.data.chunk_reader import ChunkReader
from homespec.data.data_files import DataFiles, format_of, open_files
from homespec.data.dataset import SLAB_ROWS
from homespec.data.paths import reachable
from homespec.data.plan import Arrays, Plan
from homespec.data.prefetch import prefetched
from homespec.schema.models import Spec

PIECE_BYTES = 64 * 2**20
"""Memory for the tensors of a piece, if these are more than one batch."""
SPLITS = ("train", "valid")

Progress = Callable[[int, int], None]
"""Called with the number of completed rows and of all rows."""


class Piece(NamedTuple):
    """Consecutive rows."""

    first: int
    """The index of the first row, counted from 0 over all files."""
    rows: int
    arrays: Arrays
    """The rows, padded to whole batches with rows of missing values."""
    kept: pa.Table
    """The columns that pass through, with `rows` values each."""


@dataclass(frozen=True)
class Rows:
    """The rows of files as pieces, which can be iterated repeatedly."""

    files: DataFiles
    plan: Plan
    kept: tuple[str, ...]
    """The columns that pass through."""
    schema: pa.Schema
    """The columns to read."""
    batch_size: int

    @property
    def kept_schema(self) -> pa.Schema:
        """The columns that pass through, in the order in which they were named."""
        return pa.schema([self.schema.field(column) for column in self.kept])

    def __iter__(self) -> Iterator[Piece]:
        """The pieces in order, read ahead. Raises DataError for data that cannot be used."""
        return prefetched(self._pieces())

    def _pieces(self) -> Iterator[Piece]:
        reader, size = ChunkReader(self.files.chunks, self.schema), self._piece_rows()
        for low in range(0, self.files.rows, size):
            table = reader.table(low, min(low + size, self.files.rows)).combine_chunks()
            arrays, rows = self.plan.read(table, self.files), table.num_rows
            filled = -(-rows // self.batch_size) * self.batch_size
            whole = arrays if filled == rows else arrays.padded(filled)
            yield Piece(low, rows, whole, table.select(self.kept))

    def _piece_rows(self) -> int:
        most = min(SLAB_ROWS, PIECE_BYTES // max(1, self.plan.bytes_per_row))
        return max(1, most // self.batch_size) * self.batch_size


def open_rows(
    spec: Spec,
    paths: Sequence[Path],
    batch_size: int,
    *,
    labels: Collection[str] = (),
    weights: Collection[str] = (),
    users: str | None = None,
    keep: Mapping[str, str] | None = None,
) -> Rows:
    """The rows of files and folders, with the labels and sample weights of these tasks.

    `keep` maps further columns to those who ask for them. Raises DataError for data that cannot be
    read, and for missing columns.
    """
    for path in paths:
        _check_one_part(path)
    plan = Plan.of(spec, users)
    plan = replace(
        plan,
        labels={task: label for task, label in plan.labels.items() if task in labels},
        weights={task: column for task, column in plan.weights.items() if task in weights},
        sessions=None,
    )
    files, keep, wanted = open_files(paths), keep or {}, plan.wanted
    kept_alone = {column: who for column, who in keep.items() if column not in wanted}
    schema = files.schema(wanted | kept_alone, plan.exact.union(keep))
    return Rows(files, plan, tuple(keep), schema, batch_size)


def _check_one_part(path: Path) -> None:
    """Raise DataError for a folder with `train` and `valid`, which have different purposes."""
    with reachable():
        found = [own for name in SPLITS for own in _parts(path, name)] if path.is_dir() else []
    if len({own.name.partition(".")[0] for own in found}) > 1:
        raise DataError(
            f"{path} holds both training and held-out rows: name {found[0]} or {found[-1]}"
        )


def _parts(folder: Path, name: str) -> list[Path]:
    """The files of a part of a folder, found as `homespec train` finds them."""
    return sorted(
        path for path in folder.glob(f"{name}*")
        if path.name == name or (path.name.partition(".")[0] == name and format_of(path))
    )  # fmt: skip
