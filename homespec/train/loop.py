"""Training: the optimisation step and the evaluation of a built model, for Lightning's Trainer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

import lightning.pytorch as lightning
import torch
from torch import Tensor, nn

from homespec import runtime
from homespec.data import DataError
from homespec.data.batches import Batch
from homespec.data.plan import Arrays
from homespec.data.source import Source
from homespec.data.stream import Stream
from homespec.schema.models import Spec
from homespec.train import metrics

CHECK_EVERY = 50
"""Steps between looks at the losses: each look waits for the device."""

Observe = Callable[[dict[str, Tensor]], dict[str, Tensor]]
Step = Callable[[dict[str, Tensor], dict[str, Tensor]], tuple[Tensor, Tensor]]


class Training(lightning.LightningModule):
    """Adam on the weighted sum of the tasks' losses; after each epoch measures on held-out rows.

    `code` is the generated Python module that `model` comes from. Only the training step is
    compiled: evaluation is too short to pay for a graph of its own.
    """

    step_losses: list[Tensor]
    """The tasks' losses [T] of every step."""
    measured_by_epoch: list[dict[str, dict[str, float]]]
    """By epoch and task: `auc`, or `mae` and `rmse` of a regression."""

    def __init__(
        self,
        model: nn.Module,
        code: ModuleType,
        kinds: Mapping[str, str],
        lr: float,
        compiled: bool,
    ) -> None:
        """Take over `model`, to be trained at learning rate `lr`, with the kinds of its tasks."""
        super().__init__()
        self.model = model
        self.tasks: tuple[str, ...] = code.TASKS
        self.kinds = kinds
        self.scales: dict[str, float] = getattr(code, "SCALES", {})
        self.observed: Observe = getattr(code, "observed", dict)
        self.lr = lr
        self.step: Step = step_of(model, code)
        if compiled:
            self.step = runtime.compiled(self.step, dynamic=False)
        self.step_losses = []
        self.measured_by_epoch = []
        self.timer = Timer()
        self._predicted: list[tuple[Tensor, Tensor]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, with one kernel for all parameters."""
        return torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        loss, losses_T = self.step(batch.features, batch.labels)
        self.step_losses.append(losses_T.detach())
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def check_finite(self, steps: int) -> None:
        """Raise DataError if a loss of the last `steps` steps is not finite; names the tasks."""
        losses_ST = torch.stack(self.step_losses[-steps:])
        bad_ST = ~losses_ST.isfinite()
        if bad_ST.any():
            step = len(self.step_losses) - len(losses_ST) + int(bad_ST.any(1).nonzero()[0]) + 1
            tasks = [t for t, bad in zip(self.tasks, bad_ST.any(0).tolist(), strict=True) if bad]
            raise DataError(
                f"the loss of {', '.join(tasks)} is no longer finite from step {step} on: try a "
                "smaller --lr, and look for very large numbers in the data. Nothing was written"
            )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Predict one batch."""
        logits = self.model(batch.features)
        labels = self.observed(batch.labels)
        both = [torch.stack([d[t].float() for t in self.tasks]) for d in (logits, labels)]
        self._predicted.append((both[0].cpu(), both[1].cpu()))

    def on_validation_epoch_end(self) -> None:
        """Measure each task on the predictions of all batches."""
        scores, labels = (torch.cat(part, 1) for part in zip(*self._predicted, strict=True))
        self._predicted.clear()
        measured = {}
        for task, score, label in zip(self.tasks, scores, labels, strict=True):
            if self.kinds[task] == "binary":
                measured[task] = {"auc": metrics.auc(score.numpy(), label.numpy())}
            else:
                estimate = (score * self.scales.get(task, 1.0)).numpy()
                measured[task] = {
                    "mae": metrics.mean_absolute_error(estimate, label.numpy()),
                    "rmse": metrics.root_mean_square_error(estimate, label.numpy()),
                }
        self.measured_by_epoch.append(measured)

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """Start the clock after an epoch's first step, which may compile."""
        if batch_idx == 0:
            self._synchronise()
            self.timer.start()
        elif batch_idx % CHECK_EVERY == 0:
            self.check_finite(CHECK_EVERY)

    def on_validation_start(self) -> None:
        """Stop the clock: the epoch's steps are done."""
        self._synchronise()
        self.check_finite(CHECK_EVERY)
        self.timer.stop(steps=int(self.trainer.num_training_batches) - 1)

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def step_of(model: nn.Module, code: ModuleType) -> Step:
    """A function of features and labels to the loss [] and the tasks' own losses [T]."""

    def step(features: dict[str, Tensor], labels: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        logits = model(features)
        losses = code.losses(logits, labels)
        return code.loss(logits, labels), torch.stack([losses[task] for task in code.TASKS])

    return step


@dataclass
class Timer:
    """Seconds that steps took, over all epochs."""

    seconds: float = 0.0
    steps: int = 0
    _started: float = 0.0

    def start(self) -> None:
        """Begin to count."""
        self._started = time.perf_counter()

    def stop(self, steps: int) -> None:
        """Add the time since `start`, in which there were `steps` steps."""
        self.seconds += time.perf_counter() - self._started
        self.steps += steps


class Rows(lightning.LightningDataModule):
    """The rows to train on, in a new order each epoch, and those held out."""

    def __init__(
        self,
        spec: Spec,
        train: tuple[Source, Arrays],
        valid: tuple[Source, Arrays],
        batch_size: int,
        seed: int,
    ) -> None:
        """Batch the rows in `batch_size`; seed and epoch make the order."""
        super().__init__()
        self.spec, self.batch_size, self.seed = spec, batch_size, seed
        self.train, self.held = train
        self.valid, self._held_out = valid

    def train_dataloader(self) -> Stream:
        """The batches of the current epoch; the Trainer must ask anew each epoch."""
        assert self.trainer is not None
        return Stream(
            self.spec, self.train, self.batch_size, held=self.held,
            seed=self.seed, epoch=self.trainer.current_epoch,
        )  # fmt: skip

    def val_dataloader(self) -> Stream:
        """The batches of the held-out rows."""
        return Stream(self.spec, self.valid, self.batch_size, held=self._held_out, training=False)
