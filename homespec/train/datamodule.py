"""Training: the batches to train on and to measure on, from files or from memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from torch.utils.data import DataLoader

from homespec.data import DataError
from homespec.data.batches import Batch
from homespec.data.dataset import BatchDataset
from homespec.data.files import DataFile, DataFiles
from homespec.data.in_memory import CACHE_BYTES, load_rows
from homespec.data.plan import Arrays, Plan
from homespec.data.splits import open_splits
from homespec.schema.models import Spec
from homespec.train import RunError
from homespec.train.settings import Settings

TAIL_BYTES = 1024
"""Of a CSV file these last bytes count as its mark, of a parquet file its footer: there it has its
statistics."""

Mark = list[list[Any]]


@dataclass(frozen=True)
class Part:
    """The rows of one purpose: their source, and the rows themselves if they fit into memory."""

    source: DataFiles
    held: Arrays | None

    @cached_property
    def mark(self) -> Mark:
        """What tells these rows from others, without reading them all: by file its name, size,
        rows taken and the hash of its end."""
        rows: dict[Path, int] = {}
        for chunk in self.source.chunks:
            rows[chunk.file.path] = rows.get(chunk.file.path, 0) + chunk.rows
        return [_mark(file, rows[file.path]) for file in self.source.files if file.path in rows]


def _mark(file: DataFile, rows: int) -> list[Any]:
    size = file.path.stat().st_size
    with file.path.open("rb") as content:
        tail = TAIL_BYTES
        if file.format == "parquet":  # it ends in the length of the footer and a magic number
            content.seek(size - 8)
            tail = 8 + int.from_bytes(content.read(4), "little")
        content.seek(max(0, size - tail))
        end = hashlib.sha256(content.read()).hexdigest()
    return [file.path.name, size, rows, end]


@dataclass(frozen=True)
class Rows:
    """The rows to train on and those held out."""

    spec: Spec
    settings: Settings
    train: Part
    valid: Part

    @classmethod
    def open(
        cls, spec: Spec, data: Sequence[Path], valid: Sequence[Path], settings: Settings
    ) -> Rows:
        """Find the rows, without reading more of them than it takes to count. Raises DataError."""
        train, held_out = open_splits(data, valid)
        if held_out is None:
            raise DataError(
                f"there are no rows to measure on beside {train}: give a folder with"
                " train.parquet and valid.parquet as --data, or more files as --valid"
            )
        rows = cls(spec, settings, Part(train, None), Part(held_out, None))._first()
        if rows.train.source.rows < settings.batch_size:
            limited = settings.limit_rows == rows.train.source.rows
            limit, or_more = (" by --limit-rows", ", or more rows") if limited else ("", "")
            raise DataError(
                f"{train} has {rows.train.source.rows:,} rows{limit}, fewer than one batch of"
                f" {settings.batch_size}: give a smaller --batch-size{or_more}"
            )
        for part, users in ((rows.train, None), (rows.valid, settings.gauc_by)):
            plan = Plan.of(spec, users)
            part.source.schema(plan.wanted, plan.exact)
        return rows

    def _first(self) -> Rows:
        train, valid = (
            Part(part.source.first(self.settings.limit_rows), None)
            for part in (self.train, self.valid)
        )
        return replace(self, train=train, valid=valid)

    def held(self) -> Rows:
        """These rows, read into memory if they fit. Raises DataError for what cannot be used."""
        valid = load_rows(self.spec, self.valid.source, self.settings.gauc_by, CACHE_BYTES)
        train = load_rows(self.spec, self.train.source, None, CACHE_BYTES)
        return replace(
            self, train=replace(self.train, held=train), valid=replace(self.valid, held=valid)
        )

    def training(self, epoch: int, start: int = 0, rank: int = 0, world: int = 1) -> BatchDataset:
        """A rank's parts of the batches of an epoch from batch `start` on."""
        at = self.settings
        return BatchDataset(
            self.spec, self.train.source, at.batch_size // world, seed=at.seed, epoch=epoch,
            start=start, shuffle=at.shuffle_rows, rank=rank, world=world, cached=self.train.held,
        )  # fmt: skip

    def validation(self, rank: int = 0, world: int = 1) -> BatchDataset:
        """All held-out rows in order, the last batch filled up with rows without labels."""
        at = self.settings
        return BatchDataset(
            self.spec, self.valid.source, at.batch_size // world, training=False, users=at.gauc_by,
            rank=rank, world=world, cached=self.valid.held,
        )  # fmt: skip

    def of_batch(
        self, epoch: int, batch: int, rank: int = 0, world: int = 1
    ) -> list[tuple[Path, int]]:
        """Where a rank's rows of a batch stand: file and number of the row in it, from 0."""
        order = self.training(epoch, batch, rank, world).sampler
        window = next(order.windows(batch))
        begin = (batch - window.first) * order.batch_size
        numbers = order.rows_at(window.picks[begin : begin + order.batch_size])
        return [self.train.source.place(int(number)) for number in np.sort(numbers)]

    @property
    def mark(self) -> dict[str, Mark]:
        """What tells these rows from others."""
        return {"train": self.train.mark, "valid": self.valid.mark}

    def check_same(self, mark: dict[str, Mark], where: str) -> None:
        """Raise RunError that says which file differs from those of a checkpoint."""
        for purpose, flag in (("train", "--data"), ("valid", "--valid")):
            before, now = mark[purpose], self.mark[purpose]
            if before != now:
                raise RunError(
                    f"{where} was trained on other data: {_difference(before, now)}. Resume it with"
                    f" the same {flag}, or start another run in another --out"
                )


def _difference(before: Mark, now: Mark) -> str:
    for old, new in zip(before, now, strict=False):
        if old[0] != new[0]:
            return f"{new[0]} stands where {old[0]} was"
        if old[2] != new[2]:
            return f"{new[0]} has {new[2]} rows, and had {old[2]}"
        if old != new:
            return f"{new[0]} has another content"
    return f"{len(now)} files, and there were {len(before)}"


class Batches:
    """The batches of a stream from where it starts, with the length that is left."""

    def __init__(self, stream: BatchDataset, workers: int) -> None:
        """`workers` processes convert rows; 0: a thread of this one."""
        self.stream, self.workers = stream, workers

    def __len__(self) -> int:
        """The batches that are left."""
        return len(self.stream) - self.stream.start

    def __iter__(self) -> Iterator[Batch]:
        """The batches in order; nothing is read before the first is asked for."""
        if not self.workers or self.stream.cached is not None:
            yield from self.stream
        else:
            pin = torch.cuda.is_available()
            loader = DataLoader(
                self.stream, batch_size=None, num_workers=self.workers, pin_memory=pin
            )
            try:
                yield from loader
            except DataError as error:  # torch puts the worker's traceback in front
                told = str(error).rpartition(f"{DataError.__name__}: ")[2]
                raise DataError(told.strip()) from None


class Loaders(lightning.LightningDataModule):
    """The batches as Lightning's Trainer asks for them, from a place inside an epoch on."""

    def __init__(self, rows: Rows, epoch: int, start: int) -> None:
        """Begin with batch `start` of `epoch`, both counted from 0."""
        super().__init__()
        self.rows, self.epoch, self.start = rows, epoch, start

    def train_dataloader(self) -> Batches:
        """The batches of the current epoch; the Trainer must ask anew each epoch."""
        trainer = self._trainer()
        passed = trainer.current_epoch
        return Batches(
            self.rows.training(
                self.epoch + passed, 0 if passed else self.start,
                trainer.global_rank, trainer.world_size,
            ),
            self.rows.settings.workers,
        )  # fmt: skip

    def val_dataloader(self) -> Batches:
        """The batches of the held-out rows."""
        trainer = self._trainer()
        stream = self.rows.validation(trainer.global_rank, trainer.world_size)
        return Batches(stream, self.rows.settings.workers)

    def _trainer(self) -> lightning.Trainer:
        assert self.trainer is not None
        return self.trainer
