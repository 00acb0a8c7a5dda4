"""Training: progress as a few plain lines, for where Lightning's bar cannot be drawn."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as lightning

LINES_PER_EPOCH = 5


class PlainProgress(lightning.Callback):
    """Prints the loss a few times an epoch."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any, **kwargs: Any) -> None:
        """Print when another fifth of the epoch is done."""
        steps = int(trainer.num_training_batches)
        done = trainer.fit_loop.batch_idx + 1
        if done * LINES_PER_EPOCH // steps > (done - 1) * LINES_PER_EPOCH // steps:
            loss = float(trainer.callback_metrics["loss"])
            epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            print(f"{epoch}  step {done}/{steps}  loss {loss:.4f}", flush=True)
