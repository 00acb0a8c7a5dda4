"""Training: the model of a spec as a LightningModule, for `homespec train` or your own Trainer.

Lightning's automatic optimisation steps one optimiser. Everything that the tasks' losses and sparse
tables need besides `loss.backward()` is in the hooks `backward` and `configure_gradient_clipping`.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import lightning.pytorch as lightning
import torch
from torch import Tensor

from homespec import api
from homespec.atomic_write import replacing
from homespec.data.batches import Batch
from homespec.runtime import observed, sampled
from homespec.train import RunError, distributed
from homespec.train.checkpoint import writing
from homespec.train.checkpoint_checks import Json
from homespec.train.datamodule import RankingData
from homespec.train.distributed import (
    average_running_stats,
    on_rank_zero,
    world_size,
)
from homespec.train.evaluate import Measured, Measures, Predictions, metric_names
from homespec.train.losses import Losses
from homespec.train.optimizer_state import copied, random_states, set_random_states
from homespec.train.settings import Settings
from homespec.train.table_files import frozen_tables
from homespec.train.table_merging import skipped_passes
from homespec.train.torch_compile import decide
from homespec.train.train_step import TrainStep
from homespec.train.warm_start import WarmStart, warm_start

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig

    from homespec.api import LoadedSpec

BAD_BATCH_FILE = "bad_batch.csv"
PRECISIONS = ("32-true", "bf16-mixed", "64-true")
STATE = "homespec"
"""The key of homespec's own part of a Lightning checkpoint."""


@dataclass
class Position:
    """The position of a run, counted from 0."""

    epoch: int = 0
    batch: int = 0
    """The next batch of this epoch."""
    step: int = 0
    """Number of completed batches in all epochs."""


class RankingModule(lightning.LightningModule):
    """The model of a spec, with its losses, optimisers and metrics, for any Lightning Trainer.

        spec = homespec.load("specs/shorts.yaml")
        settings = Settings(batch_size=1024, lr=1e-3, weighting="pcgrad")
        module = homespec.RankingModule(spec, settings)
        data = homespec.RankingData(spec, "prepared", settings=settings)
        lightning.pytorch.Trainer(max_epochs=3).fit(module, datamodule=data)

    The Trainer decides on epochs, precision, devices, checkpoints and accumulation; the module
    takes the learning settings from `settings`. It logs `loss/TASK` and learned weights to the
    Trainer's loggers every `log_every_n_steps`, and after a validation `auc/TASK` and the like and
    `monitor`, the metric by which `homespec train` compares epochs, also for callbacks. Checkpoints
    that Lightning writes hold weights and moments by logical name: they load into a module that
    merges tables or batches experts otherwise.

    Seeds torch with `settings.seed`, so the first weights are those of `homespec train`, or carried
    over from `settings.init_from`; `start` then says how. Weights named by `settings.freeze` do not
    change. Raises RunError for invalid settings, and for a loss that is not finite.
    """

    measured: Measured
    """The metrics of the last validation."""
    monitored: float
    """The metric that compares epochs, from the last validation."""
    health: Json | None
    """Measurements of `WatchExperts` in the last validation, if it is among the callbacks."""

    measures_start = False
    """Whether a sanity check, then on all rows, counts as a measurement."""
    ends_inside = False
    """Whether the last of `steps` is inside an epoch, which a longer run would continue."""

    def __init__(
        self, spec: LoadedSpec, settings: Settings | None = None, *, steps: int | None = None,
        warm: bool = True,
    ) -> None:  # fmt: skip
        """`steps` is the number for the whole run, if the Trainer does not do all of them.

        Without `warm`, `settings.init_from` is not read, because a checkpoint is loaded afterwards.
        """
        super().__init__()
        self.position = self._first = Position()
        self.settings = settings = settings or Settings()
        self.steps = steps
        torch.manual_seed(settings.seed)
        skip = skipped_passes(settings)
        self.code, self.model = api.build_with_module(
            spec, optimize=settings.optimize, skip_passes=skip
        )
        self.tasks: tuple[str, ...] = self.code.TASKS
        self.measures = Measures.of(spec)
        self.monitor = self.measures.monitor(settings)
        self.compiled, _ = decide(settings.compile)
        kinds = self.measures.kinds
        self.in_file = frozen_tables(spec)
        self.train_step = TrainStep(
            self.model, self.code, kinds, settings, self.compiled, self.in_file
        )
        self.weighting = self.train_step.weighting  # Lightning moves it to the device
        self.start = self._warm_start(spec) if warm and settings.init_from else None
        self.losses = Losses(self.tasks)
        if settings.weighted_metrics and not sampled(self.code):
            raise RunError("--weighted-metrics: no task of the spec has a `sample_weight`")
        self.predictions = Predictions(self.tasks, observed(self.code), settings.weighted_metrics)
        self.measured, self.monitored, self.health = {}, math.nan, None
        self.loss: Tensor | None = None
        """The loss of the last batch, detached."""
        self._losses_T: Tensor | None = None
        self._of_step: dict[str, Tensor | float] = {}
        """The gradient norm and learning rates of a step to log."""

    def _warm_start(self, spec: LoadedSpec) -> WarmStart:
        """Start from the weights and moments of another run."""
        start = warm_start(spec, self.settings, self.code.logical_state(self.model))
        self.code.load_logical_state(self.model, start.weights)
        lines = (*start.lines, *self.train_step.frozen.of_new(start.new - self.in_file))
        if start.moments and not self.train_step.start_from(start.moments, start.about["path"]):
            lines += ("learned weights of losses are not carried over; they start as in a new run",)
        return dataclasses.replace(start, weights={}, moments={}, lines=lines)  # frees memory

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits and estimates [B] by task."""
        outputs: dict[str, Tensor] = self.model(features)
        return outputs

    # ------------------------------------------------------------ learning

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimiser, and its learning rate by step."""
        steps = self.steps or self.trainer.estimated_stepping_batches
        schedule = self.train_step.schedule(steps, done=self.position.step)
        return {
            "optimizer": self.train_step.optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_fit_start(self) -> None:
        """Refuse options of the Trainer that would have another effect than expected."""
        if self.trainer.precision not in PRECISIONS:
            raise RunError(
                f"RankingModule trains with precision {', '.join(PRECISIONS)}, not"
                f" {self.trainer.precision}: give the Trainer one of these"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The weighted loss of one batch, with a gradient."""
        losses_T = self.train_step.losses(batch)
        with torch.autocast(losses_T.device.type, enabled=False):  # only for the forward pass
            loss = self.weighting.loss(losses_T)
        self.losses.add(losses_T, self.train_step.rows_T)
        self.loss, self._losses_T = loss.detach(), losses_T
        self.position = self._position(self.trainer.current_epoch, batch_idx + 1)
        self.position.step += 1
        return loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute one gradient of the tasks' losses. The Trainer scales accumulated batches."""
        losses_T, self._losses_T = self._losses_T, None
        assert losses_T is not None
        self.train_step.backward(loss, losses_T, 1 / self.trainer.accumulate_grad_batches)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the Trainer or the settings say, including gradients of sparse tables."""
        most = self.settings.clip if gradient_clip_val is None else gradient_clip_val
        norm = None
        if self._is_logged():
            norm = self.train_step.gradient_norm()
            self._of_step = {"gradient_norm": norm, **self.train_step.learning_rates()}
        self.train_step.clip(most, gradient_clip_algorithm == "value", norm)

    def _is_logged(self) -> bool:
        """Whether this step is the last one before losses are read and logged."""
        trainer: Any = self.trainer
        left = -self.position.batch % trainer.log_every_n_steps
        soon = left < trainer.accumulate_grad_batches or trainer.is_last_batch
        return bool(soon and trainer.loggers)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and free the memory of gradients before the next forward pass."""
        super().optimizer_step(*args, **kwargs)
        self.train_step.optimizer.zero_grad()

    def optimizer_zero_grad(self, *args: Any) -> None:
        """Do nothing, because gradients are freed after each step."""

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """Read the losses only every few steps, because reading waits for the device."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self.position.batch % every == 0:
            self.look()
            assert self.loss is not None
            self.log("loss", self.loss, prog_bar=True, logger=False)

    def on_train_epoch_end(self) -> None:
        """Count the epoch, and check the rest of its losses."""
        self.look()
        if self.is_cut():
            return
        self.position = self._position(self.trainer.current_epoch + 1, 0)

    def is_cut(self) -> bool:
        """Whether the run is at its end, inside an epoch."""
        return self.ends_inside and self.position.step == self.steps

    def begin_at(self, position: Position) -> None:
        """Make Lightning's first batch the one at this position of a run."""
        self._first = self.position = position

    def _position(self, epoch: int, batch: int) -> Position:
        """Lightning's own position, relative to the whole run."""
        first = self._first
        before = first.batch if epoch == 0 else 0
        return Position(first.epoch + epoch, before + batch, self.position.step)

    def look(self) -> None:
        """Record the losses since the last time. Raises RunError if one is not finite.

        All processes must call this.
        """
        looked = self.losses.look()
        if looked is None:
            return
        losses_WST, steps = looked
        if not losses_WST.isfinite().all():
            self._not_finite(losses_WST)
        weights = self.weighting.current() if self.loggers else {}
        of_step, self._of_step = self._of_step, {}
        self.record(
            {f"loss/{task}": mean for task, mean in steps.means().items()}
            | {f"weight/{task}": weight for task, weight in weights.items()}
            | {name: float(value) for name, value in of_step.items()}
        )

    def _not_finite(self, losses_WST: Tensor) -> NoReturn:
        """Raise RunError, which names the batch and the rows of the process that found them."""
        bad_WST = ~losses_WST.isfinite()
        first = int(bad_WST.any(2).any(0).nonzero()[0])
        rank = int(bad_WST[:, first].any(1).nonzero()[0])
        tasks = [t for t, bad in zip(self.tasks, bad_WST[rank, first].tolist(), strict=True) if bad]
        at, ago = self.position, losses_WST.shape[1] - first
        batch, data = at.batch - ago, getattr(self.trainer, "datamodule", None)
        listed = ""
        if isinstance(data, RankingData):
            path = Path(self.trainer.default_root_dir, BAD_BATCH_FILE)
            on_rank_zero(lambda: _list_rows(path, data, at.epoch, batch, rank))
            listed = f", which {path} lists"
        distributed.fail(
            RunError(
                f"the loss of {', '.join(tasks)} is not finite from epoch {at.epoch + 1}, batch"
                f" {batch + 1} (step {at.step - ago + 1}) on: check its rows for very large "
                f"numbers{listed}, or try a smaller --lr or --clip 1"
            )
        )

    def record(self, values: dict[str, float]) -> None:
        """Pass numbers to the loggers, except undefined ones (NaN)."""
        known = {name: value for name, value in values.items() if not math.isnan(value)}
        for logger in self.loggers:
            logger.log_metrics(known, self.position.step)

    # ------------------------------------------------------------ measuring

    def on_validation_start(self) -> None:
        """Read the last losses, and give all processes the same running statistics."""
        self.look()
        self.average_running_stats()

    def average_running_stats(self) -> None:
        """Give all processes the same running statistics, except frozen ones, which stay."""
        with self.train_step.frozen.keeping_statistics():
            average_running_stats(self.model)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Predict one batch, in float32 whatever the precision of training.

        In bfloat16, thousands of rows share a few hundred logits, and ties distort AUC.
        """
        with torch.autocast(self.device.type, enabled=False):
            self.predictions.add(batch, self.model(batch.features))

    def on_validation_epoch_end(self) -> None:
        """Measure each task on the predictions of all batches of all processes."""
        taken = self.predictions.take()
        if self.trainer.sanity_checking and not self.measures_start:
            return
        self.measured = on_rank_zero(lambda: self.measures.measured(self.tasks, taken))
        self.monitored = self.monitor.value(self.measured)
        values = metric_names(self.measured) | {"monitor": self.monitored}
        fitting = self.trainer.state.fn == "fit"
        if fitting:
            self.record(values)  # at the step of the run, which may be a resumed one
        if self.trainer.sanity_checking:  # Lightning does not aggregate it
            return
        self.log_dict(values, logger=not fitting, sync_dist=True)

    # ------------------------------------------------------------ Lightning's checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Replace weights and moments by tensor name with those by logical name."""
        self.average_running_stats()
        weights = self.code.logical_state(self.model)
        checkpoint["state_dict"] = {name: copied(value) for name, value in weights.items()}
        checkpoint[STATE] = {
            "position": asdict(self.position),
            "optimizer": self.train_step.state(),
            "random": random_states(),
            "lr_of": self.settings.lr_of,
        }
        for state in checkpoint.get("optimizer_states", []):
            state["state"] = {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load weights and moments, and leave the rest to Lightning."""
        self.code.load_logical_state(self.model, checkpoint["state_dict"])
        stored = checkpoint[STATE]
        self.train_step.load(stored["optimizer"])
        self.position = Position(**stored["position"])
        set_random_states(stored["random"])
        checkpoint["state_dict"] = self.state_dict()
        own = self.train_step.optimizer.state_dict()
        for state in checkpoint.get("optimizer_states", []):
            with_rates = bool(self.settings.lr_of or stored.get("lr_of"))
            _check_groups(state["param_groups"], own["param_groups"], with_rates)
            groups = zip(own["param_groups"], state["param_groups"], strict=True)
            state["param_groups"] = [then | {"params": now["params"]} for now, then in groups]
            state["state"] = own["state"]


def _check_groups(stored: list[Any], own: list[Any], with_rates: bool) -> None:
    """Raise RunError if learning rates group the weights of a checkpoint differently."""
    then, now = ([g.get("initial_lr", g["lr"]) for g in groups] for groups in (stored, own))
    if len(then) != len(now) or (with_rates and then != now):
        raise RunError(
            "the weights of the checkpoint have other learning rates than those of the module:"
            " resume with the same `lr`, `lr_of`, `optimize` and `merge_tables`"
        )


def _list_rows(path: Path, data: RankingData, epoch: int, batch: int, rank: int) -> None:
    with writing(path), replacing(path) as (new,), new.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "row"])
        table.writerows(data.rows.of_batch(epoch, batch, rank, world_size()))
