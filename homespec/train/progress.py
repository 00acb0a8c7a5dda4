"""Training: progress, as Lightning's bar or as a few plain lines, and the speed of steps."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import TQDMProgressBar

from homespec.train.distributed import all_reduce_mean, rank

LINES_PER_EPOCH = 5
REFRESH_STEPS = 20
"""Steps between updates of the bar, each of which waits for the device."""


class PlainProgress(lightning.Callback):
    """Prints the loss a few times an epoch, of all processes together."""

    def __init__(self, epochs: int) -> None:
        """`epochs` is the number for the whole run."""
        self.epochs = epochs

    def on_sanity_check_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Print the metric before the first step, if it was measured."""
        if pl_module.measures_start and rank() == 0:
            worth = f"{pl_module.monitor.name} {pl_module.monitored:.4f}"
            print(f"epoch 0/{self.epochs}  {worth} on the held-out rows", flush=True)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Print when another fifth of the epoch is done."""
        done = pl_module.position.batch
        before = done - trainer.fit_loop.batch_idx - 1  # steps of an earlier process
        steps = int(trainer.num_training_batches) + before
        if done * LINES_PER_EPOCH // steps > (done - 1) * LINES_PER_EPOCH // steps:
            loss = float(all_reduce_mean(pl_module.loss))
            if rank() == 0:
                epoch = f"epoch {pl_module.position.epoch + 1}/{self.epochs}"
                print(f"{epoch}  step {done}/{steps}  loss {loss:.4f}", flush=True)


class Bar(TQDMProgressBar):
    """Lightning's bar, with the epochs and the loss of the run."""

    def __init__(self, epochs: int) -> None:
        """Create a bar that is updated every few steps, for a run of `epochs` epochs."""
        super().__init__(refresh_rate=REFRESH_STEPS)
        self.epochs = epochs

    @property
    def sanity_check_description(self) -> str:
        """The description of a measurement before the first step."""
        return f"epoch 0/{self.epochs}"

    def on_train_epoch_start(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Count epochs from the start of the run, which may have been resumed."""
        super().on_train_epoch_start(trainer, *args)
        module: Any = trainer.lightning_module
        self.train_progress_bar.set_description(f"epoch {module.position.epoch + 1}/{self.epochs}")

    def get_metrics(self, trainer: lightning.Trainer, pl_module: Any) -> dict[str, Any]:
        """The loss of the last batch."""
        loss = pl_module.loss
        return {} if loss is None else {"loss": f"{float(loss):.4f}"}


class Speed(lightning.Callback):
    """Times the steps of all epochs, each without its first one, which may compile."""

    def __init__(self) -> None:
        self.seconds, self.steps = 0.0, 0
        self._started, self._first = 0.0, 0

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: Any,
        outputs: object,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Start the clock after the first step."""
        if batch_idx == 0:
            _synchronise()
            self._started, self._first = time.perf_counter(), pl_module.position.step

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Stop the clock: the epoch's steps are done."""
        if trainer.sanity_checking:
            return
        _synchronise()
        self.seconds += time.perf_counter() - self._started
        self.steps += pl_module.position.step - self._first

    @property
    def rate(self) -> float:
        """Steps per second; NaN if there were none, as in epochs with one step."""
        return self.steps / self.seconds if self.steps else math.nan


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
