"""The doctor: held-out rows of files in batches, without padding rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from homespec.api import LoadedSpec
from homespec.data.batches import Batch
from homespec.data.data_files import DataFiles
from homespec.data.dataset import BatchDataset
from homespec.data.splits import open_splits

BATCH = 2048
"""Rows in a batch."""


@dataclass(frozen=True)
class HeldOut:
    """The first rows of files."""

    spec: LoadedSpec
    files: DataFiles

    @classmethod
    def open(cls, spec: LoadedSpec, data: Sequence[Path], rows: int | None) -> HeldOut:
        """Open files; for a folder with `train` and `valid`, use `valid`.

        Raises DataError for files that cannot be read.
        """
        given, valid = open_splits(data)
        return cls(spec, (valid or given).first(rows))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.files.rows

    def batches(self) -> Iterator[Batch]:
        """All rows in order. Raises DataError for values that the model cannot take."""
        left = self.rows
        for batch in BatchDataset(self.spec, self.files, BATCH, training=False):
            yield batch if left >= BATCH else _first(batch, left)
            left -= BATCH


def _first(batch: Batch, rows: int) -> Batch:
    return Batch(
        {name: values[:rows] for name, values in batch.features.items()},
        {task: values[:rows] for task, values in batch.labels.items()},
        weights={task: values[:rows] for task, values in batch.weights.items()},
    )
