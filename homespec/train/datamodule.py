"""Training: training and validation batches, from files or from memory."""

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
from homespec.data.data_files import DataFile, DataFiles
from homespec.data.dataset import BatchDataset
from homespec.data.in_memory import CACHE_BYTES, load_rows
from homespec.data.paths import Paths, paths_of
from homespec.data.plan import Arrays, Plan
from homespec.data.sessions import Sessions
from homespec.data.splits import open_splits
from homespec.schema.models import Spec
from homespec.schema.sessions import session_column
from homespec.train import RunError
from homespec.train.distributed import rank, world_size
from homespec.train.settings import Settings, check_processes

TAIL_BYTES = 1024
"""A CSV file is identified by this number of last bytes, a Parquet file by its footer, which has
its statistics."""

Mark = list[list[Any]]


@dataclass(frozen=True)
class Part:
    """The rows of one split: their source, and the rows themselves if they fit into memory."""

    source: DataFiles
    held: Arrays | None

    @cached_property
    def mark(self) -> Mark:
        """Fingerprints that distinguish these rows from others without reading all of them: the
        name, the size, the number of rows and the hash of the end of each file."""
        rows: dict[Path, int] = {}
        for chunk in self.source.chunks:
            rows[chunk.file.path] = rows.get(chunk.file.path, 0) + chunk.rows
        return [_mark(file, rows[file.path]) for file in self.source.files if file.path in rows]


def _mark(file: DataFile, rows: int) -> list[Any]:
    size = file.path.stat().st_size
    with file.path.open("rb") as content:
        tail = TAIL_BYTES
        if file.format == "parquet":  # a file ends with the length of the footer and a magic number
            content.seek(size - 8)
            tail = 8 + int.from_bytes(content.read(4), "little")
        content.seek(max(0, size - tail))
        end = hashlib.sha256(content.read()).hexdigest()
    return [file.path.name, size, rows, end]


@dataclass(frozen=True)
class Rows:
    """The training rows and the held-out rows."""

    spec: Spec
    settings: Settings
    train: Part
    valid: Part

    @classmethod
    def open(
        cls, spec: Spec, data: Sequence[Path], valid: Sequence[Path], settings: Settings
    ) -> Rows:
        """Find the rows, reading only as much as is necessary to count them. Raises DataError."""
        train, held_out = open_splits(data, valid)
        if held_out is None:
            raise DataError(
                f"there are no held-out rows next to {train}: give a folder with"
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
        for part, users in ((rows.train, None), (rows.valid, rows.users)):
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
        """The rows, read into memory if they fit. Raises DataError for data that cannot be used."""
        valid = load_rows(self.spec, self.valid.source, self.users, CACHE_BYTES)
        train = load_rows(self.spec, self.train.source, None, CACHE_BYTES)
        held = replace(
            self, train=replace(self.train, held=train), valid=replace(self.valid, held=valid)
        )
        if held.sessions is not None:
            held.sessions.starts  # noqa: B018  # once, before workers start
        return held

    @property
    def users(self) -> str | None:
        """The column of users for GAUC; by default, that of sessions."""
        return self.settings.gauc_by or session_column(self.spec)

    @cached_property
    def sessions(self) -> Sessions | None:
        """The sessions of the training rows, if tasks rank rows within them."""
        column, held = session_column(self.spec), self.train.held
        if column is None:
            return None
        return Sessions(self.train.source, column, None if held is None else held.sessions)

    def training(self, epoch: int, start: int = 0, rank: int = 0, world: int = 1) -> BatchDataset:
        """A rank's parts of an epoch's batches, beginning with batch `start`."""
        at = self.settings
        return BatchDataset(
            self.spec, self.train.source, at.batch_size // world, seed=at.seed, epoch=epoch,
            start=start, shuffle=at.shuffle_rows, rank=rank, world=world, cached=self.train.held,
            sessions=self.sessions,
        )  # fmt: skip

    @property
    def steps(self) -> int:
        """Number of batches in an epoch."""
        return len(self.training(0, 0, rank(), world_size()))

    def validation(self, rank: int = 0, world: int = 1) -> BatchDataset:
        """All held-out rows in order; the last batch is padded with rows without labels."""
        at = self.settings
        return BatchDataset(
            self.spec, self.valid.source, at.batch_size // world, training=False, users=self.users,
            rank=rank, world=world, cached=self.valid.held,
        )  # fmt: skip

    def of_batch(
        self, epoch: int, batch: int, rank: int = 0, world: int = 1
    ) -> list[tuple[Path, int]]:
        """The file and row number, from 0, of each row in a rank's part of a batch."""
        order = self.training(epoch, batch, rank, world).sampler
        window = next(order.windows(batch))
        begin = (batch - window.first) * order.batch_size
        numbers = order.rows_at(window.picks[begin : begin + order.batch_size])
        return [self.train.source.place(int(number)) for number in np.sort(numbers)]

    @property
    def mark(self) -> dict[str, Mark]:
        """The fingerprints that distinguish these rows from others."""
        return {"train": self.train.mark, "valid": self.valid.mark}

    def check_same(self, mark: dict[str, Mark], where: str) -> None:
        """Raise RunError, which names a file that differs from those of a checkpoint."""
        for purpose, flag in (("train", "--data"), ("valid", "--valid")):
            before, now = mark[purpose], self.mark[purpose]
            if before != now:
                raise RunError(
                    f"{where} was trained on other data: {_difference(before, now)}. Resume it "
                    f"with the same {flag}, or start a new run in another --out"
                )


def _difference(before: Mark, now: Mark) -> str:
    for old, new in zip(before, now, strict=False):
        if old[0] != new[0]:
            return f"{new[0]} replaces {old[0]}"
        if old[2] != new[2]:
            return f"{new[0]} has {new[2]} rows, and had {old[2]}"
        if old != new:
            return f"{new[0]} has another content"
    return f"{len(now)} files, and there were {len(before)}"


class Batches:
    """The batches of a dataset, which can be iterated repeatedly."""

    def __init__(self, rows: Rows, rank: int, world: int) -> None:
        """The batches of held-out rows for one of `world` processes."""
        self.rows, self.rank, self.world = rows, rank, world

    def dataset(self) -> BatchDataset:
        """The dataset of the next iteration."""
        return self.rows.validation(self.rank, self.world)

    def __len__(self) -> int:
        """The batches of one iteration."""
        return len(self.dataset())

    def __iter__(self) -> Iterator[Batch]:
        """The batches in order; nothing is read until the first is requested."""
        dataset, workers = self.dataset(), self.rows.settings.workers
        if not workers or dataset.cached is not None:
            yield from dataset
            return
        pin = torch.cuda.is_available()
        loader = DataLoader(dataset, batch_size=None, num_workers=workers, pin_memory=pin)
        try:
            yield from loader
        except DataError as error:  # torch prepends the worker's traceback
            message = str(error).rpartition(f"{DataError.__name__}: ")[2]
            raise DataError(message.strip()) from None


class TrainBatches(Batches):
    """The training batches; each epoch has its own order.

    Lightning sets the epoch with `set_epoch`, as for torch's DistributedSampler, and saves the
    position inside an epoch with `state_dict`, as for any stateful loader.
    """

    def __init__(
        self, rows: Rows, rank: int, world: int, first_epoch: int, start: int,
        stop: int | None = None,
    ) -> None:  # fmt: skip
        """Lightning's epoch 0 is `first_epoch`, in which `start` batches are done.

        With `stop`, the epoch ends after this number of batches, including those already done.
        """
        super().__init__(rows, rank, world)
        self.stop = stop
        self.first_epoch, self.start, self.epoch, self.done = first_epoch, start, first_epoch, start
        self._stored: dict[str, int] = {}

    @property
    def sampler(self) -> TrainBatches:
        """The object whose epoch Lightning sets."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration, counted from `first_epoch`."""
        self.epoch = self.first_epoch + epoch

    def dataset(self) -> BatchDataset:
        """The epoch, from the batch at which an earlier process stopped."""
        stored = self._stored if self._stored.get("epoch") == self.epoch else {}
        start = stored.get("batch", self.start)
        return self.rows.training(self.epoch, start, self.rank, self.world)

    def __len__(self) -> int:
        """Number of batches of an epoch, without those skipped at its start."""
        whole = len(self.rows.training(self.epoch, 0, self.rank, self.world))
        return (whole if self.stop is None else self.stop) - self.start

    def __iter__(self) -> Iterator[Batch]:
        """Number of batches left in the epoch."""
        self.done = self.dataset().start
        for batch in super().__iter__():
            self.done += 1
            yield batch
            if self.done == self.stop:
                return

    def state_dict(self) -> dict[str, int]:
        """The position in the data."""
        return {"epoch": self.epoch, "batch": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue at a position in the data."""
        self._stored = state


class RankingData(lightning.LightningDataModule):
    """The rows of files as batches for a spec, for any Lightning Trainer.

    `data` and `valid` are those of `homespec train`: files, folders of them, or one folder that
    holds `train` and `valid`. From `settings` it takes the batch size, of all processes together,
    and how rows are read and shuffled. Each process gets its own rows. A run that Lightning resumes
    inside an epoch continues with the right batch.
    """

    def __init__(
        self, spec: Spec, data: Paths, valid: Paths = (), settings: Settings | None = None
    ) -> None:
        """Nothing is read yet."""
        super().__init__()
        self.spec, self.settings = spec, settings or Settings()
        self.data, self.valid = paths_of(data), paths_of(valid)
        self.epoch = self.start = 0
        """The epoch of Lightning's epoch 0, and its number of completed batches."""
        self.end: tuple[int, int] | None = None
        """The epoch inside which the run ends, and the number of batches that it takes."""
        self._rows: Rows | None = None
        self._train: TrainBatches | None = None
        self._stored: dict[str, int] = {}

    @property
    def rows(self) -> Rows:
        """The rows, found when they are first needed. Raises DataError."""
        if self._rows is None:
            self._rows = Rows.open(self.spec, self.data, self.valid, self.settings)
        return self._rows

    def load(self) -> None:
        """Read the rows into memory if they fit. Raises DataError for data that cannot be used."""
        if self.rows.train.held is None:
            self._rows = self.rows.held()

    def setup(self, stage: str) -> None:
        """Find the rows and read them, unless this has been done."""
        check_processes(self.settings.batch_size, self._trainer().world_size)
        self.load()

    def train_dataloader(self) -> TrainBatches:
        """The training batches."""
        trainer = self._trainer()
        start = 0 if trainer.current_epoch else self.start
        world = trainer.world_size
        ends = self.end is not None and self.end[0] == self.epoch + trainer.current_epoch
        stop = self.end[1] if self.end and ends else None
        self._train = TrainBatches(self.rows, trainer.global_rank, world, self.epoch, start, stop)
        self._train.load_state_dict(self._stored)
        return self._train

    def val_dataloader(self) -> Batches:
        """The batches of the held-out rows."""
        return Batches(self.rows, self._trainer().global_rank, self._trainer().world_size)

    def state_dict(self) -> dict[str, int]:
        """The position in the data, for Lightning's checkpoints."""
        return self._train.state_dict() if self._train else {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue at this position.

        Lightning also saves the loader's state, but may load it too late.
        """
        self._stored = state_dict

    def _trainer(self) -> lightning.Trainer:
        assert self.trainer is not None
        return self.trainer
