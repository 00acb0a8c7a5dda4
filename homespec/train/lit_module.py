"""Training: the optimisation step and the evaluation of a built model, for Lightning's Trainer."""

from __future__ import annotations

import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import lightning.pytorch as lightning
import torch
from torch import Tensor, nn

from homespec.atomic_write import replacing
from homespec.data.batches import Batch
from homespec.runtime import GeneratedModule, observed
from homespec.train import RunError, distributed
from homespec.train.checkpoint import writing
from homespec.train.datamodule import Rows
from homespec.train.distributed import average_running_stats, count_labels, on_rank_zero, world_size
from homespec.train.evaluate import Measured, Measures, Predictions
from homespec.train.losses import FILE as LOSSES_FILE
from homespec.train.losses import Losses
from homespec.train.settings import Settings
from homespec.train.train_step import Learner

CHECK_EVERY = 50
"""Steps between looks at the losses: each look waits for the device."""
BAD_BATCH_FILE = "bad_batch.csv"


@dataclass
class Position:
    """Where a run is; all counted from 0."""

    epoch: int = 0
    batch: int = 0
    """The batch of this epoch that comes next."""
    step: int = 0
    """The steps that are done, in all epochs."""


class Training(lightning.LightningModule):
    """Steps on the tasks' losses; after each epoch measures on held-out rows.

    `code` is the generated Python module that `model` comes from. Only the training step is
    compiled: evaluation is too short to pay for a graph of its own.
    """

    measured: Measured
    """The metrics of the last evaluation."""

    def __init__(
        self,
        model: nn.Module,
        code: GeneratedModule,
        measures: Measures,
        settings: Settings,
        rows: Rows,
        out: Path,
        compiled: bool,
    ) -> None:
        """Take over `model`; losses go to a file in `out`."""
        super().__init__()
        self.automatic_optimization = False
        self.model, self.code, self.settings = model, code, settings
        self.tasks: tuple[str, ...] = code.TASKS
        self.measures, self.rows, self.out = measures, rows, out
        self.at = Position()
        self.compiled = compiled
        steps = settings.epochs * len(rows.training(epoch=0))
        self.learner = Learner(model, code, measures.kinds, settings, compiled, steps)
        self.weighting = self.learner.weighting  # here Lightning moves it to the device
        self.losses = Losses(self.tasks, out / LOSSES_FILE, settings.batch_size)
        self.predictions = Predictions(self.tasks, observed(code))
        self.measured = {}
        self.loss: Tensor | None = None
        self.timer = Timer()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimisers; they are stepped by hand."""
        return list(self.learner.optimizers)

    def on_fit_start(self) -> None:
        """Announce each backward pass to DDP, unless the weighting averages by itself."""
        if not self.weighting.averages:
            self.learner.announce = self.trainer.strategy.pre_backward

    def on_train_start(self) -> None:
        """Lightning has taken SIGTERM by now."""
        distributed.end_on_sigterm(self.trainer)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Learn from one batch."""
        self.loss, losses_T = self.learner.learn(batch)
        own = self.predictions.observed(batch.labels)
        self.losses.add(losses_T, count_labels({task: own[task] for task in self.tasks}))
        self.at.step += 1
        self.at.batch += 1
        if self.at.batch % CHECK_EVERY == 0:
            self.look()

    def look(self) -> None:
        """Write and log the losses since the last look. Raises RunError if one is not finite."""
        looked = self.losses.look()
        if looked is None:
            return
        losses_WST, steps = looked
        if not losses_WST.isfinite().all():
            self._not_finite(losses_WST)
        weights = self.weighting.current() if self.loggers else {}
        self.record(
            {f"loss/{task}": mean for task, mean in steps.means().items()}
            | {f"weight/{task}": weight for task, weight in weights.items()}
        )

    def _not_finite(self, losses_WST: Tensor) -> NoReturn:
        """Say which batch it was, and list its rows: those of the process that met them."""
        bad_WST = ~losses_WST.isfinite()
        first = int(bad_WST.any(2).any(0).nonzero()[0])
        rank = int(bad_WST[:, first].any(1).nonzero()[0])
        tasks = [t for t, bad in zip(self.tasks, bad_WST[rank, first].tolist(), strict=True) if bad]
        at, ago = self.at, losses_WST.shape[1] - first
        batch, path = at.batch - ago, self.out / BAD_BATCH_FILE
        on_rank_zero(lambda: self._list_rows(path, batch, rank))
        distributed.fail(
            RunError(
                f"the loss of {', '.join(tasks)} is not finite from epoch {at.epoch + 1}, batch"
                f" {batch + 1} (step {at.step - ago + 1}) on: look for very large numbers in its"
                f" rows, which {path} lists, or try a smaller --lr or --clip 1"
            )
        )

    def _list_rows(self, path: Path, batch: int, rank: int) -> None:
        with writing(path), replacing(path) as (new,), new.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["file", "row"])
            table.writerows(self.rows.of_batch(self.at.epoch, batch, rank, world_size()))

    def record(self, values: dict[str, float]) -> None:
        """Give numbers to the loggers; one that is not defined (NaN) is left out."""
        known = {name: value for name, value in values.items() if not math.isnan(value)}
        for logger in self.loggers:
            logger.log_metrics(known, self.at.step)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Predict one batch, in float32 whatever the precision of the training.

        In bfloat16 thousands of rows share a few hundred logits, and ties are not what AUC is for.
        """
        with torch.autocast(self.device.type, enabled=False):
            self.predictions.add(batch, self.model(batch.features))

    def on_validation_epoch_end(self) -> None:
        """Measure each task on the predictions of all batches, of all processes."""
        taken = self.predictions.take()
        self.measured = on_rank_zero(lambda: self.measures.measured(self.tasks, *taken))

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """Start the clock after an epoch's first step, which may compile."""
        if batch_idx == 0:
            self._synchronise()
            self.timer.start(self.at.step)

    def on_validation_start(self) -> None:
        """Stop the clock: the epoch's steps are done."""
        self._synchronise()
        self.timer.stop(self.at.step)
        self.look()
        average_running_stats(self.model)

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@dataclass
class Timer:
    """Seconds that steps took, over all epochs."""

    seconds: float = 0.0
    steps: int = 0
    _started: float = 0.0
    _first: int = 0

    def start(self, step: int) -> None:
        """Begin to count behind this step."""
        self._started, self._first = time.perf_counter(), step

    def stop(self, step: int) -> None:
        """Add the time since `start`, and the steps since then."""
        self.seconds += time.perf_counter() - self._started
        self.steps += step - self._first

    @property
    def rate(self) -> float:
        """Steps a second; NaN if there were none, as in epochs of one step."""
        return self.steps / self.seconds if self.steps else math.nan
