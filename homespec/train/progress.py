"""Training: progress, as Lightning's bar or as a few plain lines where that cannot be drawn."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as lightning
from lightning.pytorch.callbacks import TQDMProgressBar

from homespec.train.distributed import all_reduce_mean, rank

LINES_PER_EPOCH = 5
REFRESH_STEPS = 20
"""Steps between refreshments of the bar: each waits for the device."""


class PlainProgress(lightning.Callback):
    """Prints the loss a few times an epoch, of all processes together."""

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Print when another fifth of the epoch is done."""
        training = pl_module
        steps = _steps(trainer, training)
        done = training.at.batch
        if done * LINES_PER_EPOCH // steps > (done - 1) * LINES_PER_EPOCH // steps:
            epoch = f"epoch {training.at.epoch + 1}/{training.settings.epochs}"
            loss = float(all_reduce_mean(training.loss))
            if rank() == 0:
                print(f"{epoch}  step {done}/{steps}  loss {loss:.4f}", flush=True)


class Bar(TQDMProgressBar):
    """Lightning's bar, with the epochs and the loss of the run."""

    def __init__(self) -> None:
        """Refresh now and then."""
        super().__init__(refresh_rate=REFRESH_STEPS)

    def on_train_epoch_start(self, trainer: lightning.Trainer, *args: Any) -> None:
        """Count epochs from the start of the run, which may have been resumed."""
        super().on_train_epoch_start(trainer, *args)
        training: Any = trainer.lightning_module
        epoch = f"epoch {training.at.epoch + 1}/{training.settings.epochs}"
        self.train_progress_bar.set_description(epoch)

    def get_metrics(self, trainer: lightning.Trainer, pl_module: Any) -> dict[str, Any]:
        """The loss of the last batch."""
        loss = pl_module.loss
        return {} if loss is None else {"loss": f"{float(loss):.4f}"}


def _steps(trainer: lightning.Trainer, training: Any) -> int:
    """The batches of the epoch, with those that an earlier process did."""
    before = int(training.at.batch) - trainer.fit_loop.batch_idx - 1
    return int(trainer.num_training_batches) + before
