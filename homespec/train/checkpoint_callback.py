"""Training: writes checkpoints, and stops training early."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
from torch import Tensor

from homespec.train import RunError, checkpoint
from homespec.train.checkpoint import (
    BEST,
    FOLDER,
    LAST,
    OPTIMIZER_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    Checkpoint,
)
from homespec.train.checkpoint_checks import CUT, DamagedError, Json, check_forms, forms
from homespec.train.distributed import is_rank_zero, on_rank_zero
from homespec.train.evaluate import Monitor
from homespec.train.lit_module import Position, RankingModule
from homespec.train.losses import LossFile, means
from homespec.train.optimizer_state import (
    RANDOM,
    check_random_states,
    copied,
    random_states,
    set_random_states,
)
from homespec.train.settings import Settings

LOSSES = "losses_sha256"
"""The key of the digest of the losses file up to the checkpoint's step."""


@dataclass
class History:
    """The results of the epochs so far."""

    epochs: list[Json] = field(default_factory=list)
    """For each epoch, its number from 1, steps so far, mean loss and metrics by task, the monitor.

    If `--max-steps` ended the run inside an epoch, that part counts as an epoch that is `cut`.
    """
    best: int = 0
    """The number of the best epoch; 0: none yet."""
    value: float = math.nan
    """The monitor of the best epoch."""
    waited: int = 0
    """Number of epochs since then."""
    start: Json | None = None
    """For a run that starts from other weights, the metrics before the first step, as epoch 0."""

    def add(self, entry: Json, monitor: Monitor) -> bool:
        """Add an epoch, and return whether it is the best so far.

        As long as the monitor is undefined, the last epoch is the best, and patience does not run
        out.
        """
        self.epochs.append(entry)
        best = math.isnan(self.value) or monitor.better(entry["monitor"], self.value)
        if best:
            self.best, self.value, self.waited = entry["epoch"], entry["monitor"], 0
        else:
            self.waited += 1
        return best

    def over(self, patience: int | None) -> bool:
        """Whether patience has run out."""
        return patience is not None and self.waited >= patience

    @classmethod
    def of(cls, stored: Json) -> History:
        """The history for a checkpoint, without NaN, which JSON does not have."""
        value = math.nan if stored["value"] is None else stored["value"]
        start = stored.get("start")
        return cls(stored["epochs"], stored["best"], value, stored["waited"], start)


class Checkpointer(lightning.callbacks.Checkpoint):
    """Writes `last` every few steps and after each epoch, `best` after the best epoch so far.

    Each of several processes has this callback, because they decide together; only the first
    writes.
    """

    def __init__(
        self, out: Path, about: Json, settings: Settings, monitor: Monitor, losses: LossFile
    ) -> None:
        """`about` identifies the run: spec, settings, data."""
        self.folder, self.about, self.settings = out / FOLDER, about, settings
        self.monitor, self.losses = monitor, losses
        self.history = History()
        self._random: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Restore the checkpoint's random state, because starting DDP sets seeds."""
        if self._random:
            set_random_states(self._random)

    def on_sanity_check_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Add the metrics before the first step, if they were measured."""
        if module.measures_start:
            self.history.start = {
                "epoch": 0,
                "step": 0,
                "losses": {},
                "tasks": module.measured,
                "monitor": module.monitored,
                **_health(module),
            }

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint every few steps, except at the end of an epoch, which has its own."""
        every = self.settings.checkpoint_every
        if every and module.position.step % every == 0 and not trainer.is_last_batch:
            self.save(module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Add the epoch, which has been measured and counted, and write checkpoints."""
        at = module.position
        before = self.history.epochs[-1]["step"] if self.history.epochs else 0
        entry = {
            "epoch": len(self.history.epochs) + 1,
            "step": at.step,
            **({CUT: True} if module.is_cut() else {}),
            "losses": on_rank_zero(lambda: means(self.losses.path, before + 1, at.step)),
            "tasks": module.measured,
            "monitor": module.monitored,
            **_health(module),
        }
        best = self.history.add(entry, self.monitor)
        if self.history.over(self.settings.patience):
            trainer.should_stop = True
        self.save(module, best)

    def save(self, module: RankingModule, best: bool = False) -> None:
        """Write the checkpoint `last`, and then `best` if it is also the best."""
        module.look()
        module.average_running_stats()
        on_rank_zero(lambda: self._write(module, best))

    def _write(self, module: RankingModule, best: bool) -> None:
        digest = self.losses.sync()
        taken = self.taken(module)
        taken.state[LOSSES] = digest
        checkpoint.write(taken, self.folder / LAST)
        if best:  # if the process dies before this, `restore` does it
            self._save_best(taken)

    def _save_best(self, taken: Checkpoint) -> None:
        checkpoint.write(Checkpoint(taken.weights, {}, taken.state), self.folder / BEST)

    def taken(self, module: RankingModule) -> Checkpoint:
        """Copies of the whole state of the run. Raises RunError if a weight is not finite."""
        state = module.code.logical_state(module.model)
        weights = {name: copied(value) for name, value in state.items()}
        bad = [n for n, v in weights.items() if v.is_floating_point() and not v.isfinite().all()]
        at = asdict(module.position)
        if bad:
            where = checkpoint.progress({**self.about, "at": at})
            raise RunError(
                f"the weights {bad[0]} and {len(bad) - 1} more are not finite {where}:"
                " try a smaller --lr or --clip 1"
            )
        optimizer = module.train_step.state() | random_states()
        return Checkpoint(
            weights, optimizer, {**self.about, "at": at, "history": asdict(self.history)}
        )

    def restore(self, module: RankingModule, kept: Checkpoint, batches: int) -> None:
        """Restore the run to the state `kept`, in an epoch of `batches` batches.

        Raises RunError if the state is damaged.
        """
        stored = {k: v for k, v in kept.optimizer.items() if not k.startswith(RANDOM)}
        try:
            weights = module.code.logical_state(module.model)
            check_forms(kept.weights, forms(weights), WEIGHTS_FILE, may_widen=True)
            module.train_step.check(stored, OPTIMIZER_FILE, kept.verified)
            check_random_states(kept.optimizer, OPTIMIZER_FILE)
        except DamagedError as error:
            raise checkpoint.damaged(self.folder / LAST, str(error)) from None
        at = Position(**{name: kept.state["at"][name] for name in asdict(Position())})
        if at.batch >= batches:
            why = f"`at.batch` of {STATE_FILE} is beyond the epoch"
            raise checkpoint.damaged(self.folder / LAST, why)
        if is_rank_zero():
            self.losses.check(at.step, kept.state.get(LOSSES))
        module.begin_at(at)
        module.code.load_logical_state(module.model, kept.weights)
        module.train_step.load(stored)
        self._random = {k: v for k, v in kept.optimizer.items() if k.startswith(RANDOM)}
        self.history = History.of(kept.state["history"])

    def repair(self, kept: Checkpoint) -> None:
        """Make sure that `best` is the checkpoint of the best epoch.

        If the process died between `last` and `best`, it is written from the restored state. Raises
        RunError if it is damaged, or is not that of an earlier best epoch.
        """
        if checkpoint.last_is_best(kept.state):
            on_rank_zero(lambda: self._repair_best(kept))
        elif self.history.best:
            on_rank_zero(self._check_best)

    def _repair_best(self, kept: Checkpoint) -> None:
        best = self.folder / BEST
        with suppress(RunError):
            if checkpoint.recover(best):
                state = checkpoint.read(best).state
                if all(state[key] == kept.state[key] for key in ("at", "history")):
                    return
        self._save_best(kept)

    def _check_best(self) -> None:
        """Raise RunError now instead of after the last epoch."""
        best = self.folder / BEST
        if not checkpoint.recover(best):
            raise checkpoint.damaged(best, "it is missing, and this epoch is the best one so far")
        state, number = checkpoint.read(best).state, self.history.best
        if (epoch := len(state["history"]["epochs"])) != number:
            raise checkpoint.damaged(best, f"it is of epoch {epoch}, not {number}")
        if state["history"]["epochs"] != self.history.epochs[:number]:
            raise checkpoint.damaged(best, "it belongs to another run, whose epochs differ")


def _health(module: RankingModule) -> Json:
    """The measurements of experts, if any."""
    return {} if module.health is None else {"health": module.health}
