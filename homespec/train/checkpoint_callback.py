"""Training: when checkpoints are written, what they hold, and when training stops early."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor

from homespec.data.dataset import BatchDataset
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
from homespec.train.checkpoint_checks import DamagedError, Json, check_forms, forms
from homespec.train.distributed import (
    average_running_stats,
    is_rank_zero,
    on_rank_zero,
    rank,
    world_size,
)
from homespec.train.evaluate import Monitor
from homespec.train.lit_module import Position, Training
from homespec.train.losses import means
from homespec.train.optimizer_state import copied


@dataclass
class History:
    """What came of the epochs so far."""

    epochs: list[Json] = field(default_factory=list)
    """By epoch: its number from 1, steps so far, mean loss and metrics by task, the monitor."""
    best: int = 0
    """The number of the best epoch; 0: none yet."""
    value: float = math.nan
    """Its monitor."""
    waited: int = 0
    """Epochs since then."""

    def add(self, entry: Json, monitor: Monitor) -> bool:
        """Take in an epoch; whether it is the best so far.

        As long as the monitor is not defined that is the last one, and patience does not run out.
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
        """The history that a checkpoint holds; there is no NaN in JSON."""
        value = math.nan if stored["value"] is None else stored["value"]
        return cls(stored["epochs"], stored["best"], value, stored["waited"])


class Checkpointer(lightning.Callback):
    """Writes `last` every few steps and after each epoch, `best` after the best epoch so far.

    Of several processes each has one, since they agree on what to do; the first one writes.
    """

    def __init__(self, out: Path, about: Json, monitor: Monitor) -> None:
        """`about` tells whose checkpoints they are: spec, settings, data."""
        self.folder, self.about, self.monitor = out / FOLDER, about, monitor
        self.history = History()
        self._random: dict[str, Tensor] = {}

    def hold_random(self) -> None:
        """Let training begin with the random numbers of now: DDP's start seeds them anew."""
        self._random = random_states()

    def on_fit_start(self, trainer: lightning.Trainer, training: Any) -> None:
        """All is set up."""
        set_random_states(self._random)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, training: Any, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        """A checkpoint every few steps; not at the end of an epoch, which has its own."""
        every = training.settings.checkpoint_every
        last = trainer.fit_loop.batch_idx + 1 >= trainer.num_training_batches
        if every and training.at.step % every == 0 and not last:
            self.save(training)

    def on_train_epoch_end(self, trainer: lightning.Trainer, training: Any) -> None:
        """Take in the epoch, which has been measured, and keep it."""
        at = training.at
        before = self.history.epochs[-1]["step"] if self.history.epochs else 0
        entry = {
            "epoch": at.epoch + 1,
            "step": at.step,
            "losses": on_rank_zero(lambda: means(training.losses.path, before + 1, at.step)),
            "tasks": training.measured,
            "monitor": self.monitor.value(training.measured),
        }
        training.record(logged(entry))
        best = self.history.add(entry, self.monitor)
        training.at = Position(at.epoch + 1, 0, at.step)
        trainer.should_stop = self.history.over(training.settings.patience)
        self.save(training, best)

    def save(self, training: Training, best: bool = False) -> None:
        """Write the checkpoint `last`, and behind it `best` if it is that, too."""
        training.look()
        average_running_stats(training.model)
        on_rank_zero(lambda: self._write(training, best))

    def _write(self, training: Training, best: bool) -> None:
        digest = training.losses.sync()
        taken = self.taken(training)
        taken.state[LOSSES] = digest
        checkpoint.write(taken, self.folder / LAST)
        if best:  # if the process dies before, `restore` does it
            self._save_best(taken)

    def _save_best(self, taken: Checkpoint) -> None:
        checkpoint.write(Checkpoint(taken.weights, {}, taken.state), self.folder / BEST)

    def taken(self, training: Training) -> Checkpoint:
        """Copies of all that the run is. Raises RunError if a weight is not finite."""
        state = training.code.logical_state(training.model)
        weights = {name: copied(value) for name, value in state.items()}
        bad = [n for n, v in weights.items() if v.is_floating_point() and not v.isfinite().all()]
        if bad:
            where = checkpoint.told({**self.about, "at": asdict(training.at)})
            raise RunError(
                f"the weights {bad[0]} and {len(bad) - 1} more are not finite {where}:"
                " try a smaller --lr or --clip 1"
            )
        optimizer = training.learner.stored() | random_states()
        known = {"at": asdict(training.at), "history": asdict(self.history)}
        return Checkpoint(weights, optimizer, {**self.about, **known})

    def restore(self, training: Training, kept: Checkpoint) -> None:
        """Make the run what it was when `kept` was taken. Raises RunError for what is damaged."""
        stored = {k: v for k, v in kept.optimizer.items() if not k.startswith(RANDOM)}
        try:
            weights = training.code.logical_state(training.model)
            check_forms(kept.weights, forms(weights), WEIGHTS_FILE, may_widen=True)
            training.learner.check(stored, OPTIMIZER_FILE, kept.verified)
            check_random_states(kept.optimizer)
        except DamagedError as error:
            raise checkpoint.damaged(self.folder / LAST, str(error)) from None
        training.at = Position(**{name: kept.state["at"][name] for name in asdict(Position())})
        if training.at.batch >= len(_epoch_of(training)):
            why = f"`at.batch` of {STATE_FILE} is beyond the epoch"
            raise checkpoint.damaged(self.folder / LAST, why)
        if is_rank_zero():
            training.losses.check(training.at.step, kept.state.get(LOSSES))
        training.code.load_logical_state(training.model, kept.weights)
        training.learner.load(stored, training.at.step)
        set_random_states(kept.optimizer)
        self.history = History.of(kept.state["history"])

    def repair(self, training: Training, kept: Checkpoint) -> None:
        """See to it that `best` is that of the best epoch.

        It is written from what was restored if the process died between `last` and `best`. Raises
        RunError if another epoch was the best, of which it is not, or is damaged.
        """
        if self.history.best == training.at.epoch and training.at.batch == 0 < training.at.epoch:
            on_rank_zero(lambda: self._repair_best(kept))
        elif self.history.best:
            on_rank_zero(self._check_best)

    def _repair_best(self, kept: Checkpoint) -> None:
        best = self.folder / BEST
        with suppress(RunError):
            if checkpoint.recover(best):
                found = checkpoint.read(best).state
                if all(found[key] == kept.state[key] for key in ("at", "history")):
                    return
        self._save_best(kept)

    def _check_best(self) -> None:
        """Raise RunError now, not after the last epoch."""
        best = self.folder / BEST
        if not checkpoint.recover(best):
            raise checkpoint.damaged(best, "it is gone, and this epoch is the best one so far")
        state, number = checkpoint.read(best).state, self.history.best
        if (epoch := state["at"]["epoch"]) != number:
            raise checkpoint.damaged(best, f"it is of epoch {epoch}, not {number}")
        if state["history"]["epochs"] != self.history.epochs[:number]:
            raise checkpoint.damaged(best, "it is of another run: its epochs went otherwise")


def _epoch_of(training: Training) -> BatchDataset:
    """The epoch that the run is in, as this process sees it."""
    return training.rows.training(training.at.epoch, 0, rank(), world_size())


def logged(entry: Json) -> dict[str, float]:
    """The numbers of an epoch as the loggers have them."""
    return {"monitor": entry["monitor"]} | {
        f"{metric}/{task}": value
        for task, measured in entry["tasks"].items()
        for metric, value in measured.items()
    }


RANDOM = "random/"
LOSSES = "losses_sha256"
"""What a checkpoint calls the digest of the file of losses up to its step."""


def random_states() -> dict[str, Tensor]:
    """The states of torch's random generators; nothing else draws numbers in training.

    They are the same in all processes: what is drawn (pcgrad's orders) must be, too.
    """
    found = {f"{RANDOM}cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        found[f"{RANDOM}cuda"] = torch.cuda.get_rng_state()
    return found


def check_random_states(stored: Mapping[str, Tensor]) -> None:
    """Raise DamagedError if `set_random_states` could not use these."""
    here = random_states()
    found = {name: state for name, state in stored.items() if name in here}
    check_forms(found, forms(here), OPTIMIZER_FILE, may_lack=[f"{RANDOM}cuda"])


def set_random_states(stored: Any) -> None:
    """Set those generators that there are."""
    torch.set_rng_state(stored[f"{RANDOM}cpu"])
    if torch.cuda.is_available() and (state := stored.get(f"{RANDOM}cuda")) is not None:
        torch.cuda.set_rng_state(state)
