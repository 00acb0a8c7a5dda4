"""Training: measures experts and gates after each epoch, with the doctor's code.

Only numbers that need neither changed models nor losses: some held-out rows go through the plain
twin.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import lightning.pytorch as lightning
import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from homespec.activations.twin import Twin
from homespec.compiler import filter_ignored
from homespec.data.batches import Batch
from homespec.health import epoch
from homespec.health.signs import sentences, signs
from homespec.train.checkpoint_checks import Json
from homespec.train.distributed import is_rank_zero, on_rank_zero
from homespec.train.lit_module import RankingModule

if TYPE_CHECKING:
    from homespec.api import LoadedSpec

ROWS = 1024
"""Number of held-out rows that are measured, spread over the batches of a validation."""


class WatchExperts(lightning.Callback):
    """Measures the experts and gates of a `RankingModule` after each validation.

    Uses 1,024 held-out rows with a label; with several processes, those of the first. The numbers
    are those of `homespec doctor` that need no loss (docs/doctor.md); they go to `module.health`
    and, with `log`, to the Trainer's loggers. Weights, random numbers and metrics are the same as
    without it.
    """

    def __init__(self, spec: LoadedSpec, *, log: bool = True) -> None:
        """`spec` is that of the module. Without `log`, only signs are kept (`health.signs`)."""
        self.spec, self._logs = spec, log  # Lightning sets `log` on each callback
        self._twin: Twin | None = None
        self._hook: RemovableHandle | None = None
        self._x_BV: Tensor | None = None
        self._rows: list[Tensor] = []

    def teardown(self, trainer: lightning.Trainer, pl_module: Any, stage: str) -> None:
        """Restore the module, even after an error."""
        self._stop()

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Capture the input of the trunk."""
        self._stop()
        if is_rank_zero():
            trunk = pl_module.model.get_submodule("trunk")
            self._hook = trunk.register_forward_pre_hook(self._see)

    def _see(self, trunk: object, inputs: tuple[Tensor, ...]) -> None:
        (self._x_BV,) = inputs

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Keep evenly spaced rows of the batch, because neighbours in a file are similar."""
        x_BV, self._x_BV = self._x_BV, None
        left = ROWS - sum(map(len, self._rows))
        if x_BV is None or not left:
            return
        batches = _batches(trainer)
        wanted = min(left, math.ceil(ROWS / batches) if math.isfinite(batches) else ROWS)
        labels_TB = torch.stack([*batch.labels.values()])
        places = (~labels_TB.isnan()).any(0).nonzero().squeeze(1)
        step = max(1, len(places) // wanted)
        if len(places):
            self._rows.append(x_BV[places[::step][:wanted]])

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Measure, and record it at the step of the run."""
        rows = self._rows
        self._stop()
        if trainer.sanity_checking and not pl_module.measures_start:
            return
        health = pl_module.health = on_rank_zero(lambda: self._found(pl_module, rows))
        if health and "experts" in health and trainer.state.fn == "fit":
            pl_module.record(dict(epoch.scalars(health)))

    def _stop(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook, self._x_BV, self._rows = None, None, []

    def _found(self, module: RankingModule, rows: list[Tensor]) -> Json | None:
        """The measurements, or why there are none; None if no held-out row has a label.

        A failure here, such as a lack of memory, must not lose the run's epoch.
        """
        if not rows:
            return None
        try:
            return self._measured(module, torch.cat(rows))
        except Exception as error:
            self._twin = None  # it may have received only some of the weights
            why = next(iter(str(error).splitlines()), "")
            return {"error": f"{type(error).__name__}{': ' if why else ''}{why}"}

    def _measured(self, module: RankingModule, x_BV: Tensor) -> Json:
        """The numbers, with the signs as sentences."""
        if self._twin is None:
            with torch.inference_mode(False):  # another Trainer may validate without it
                self._twin = Twin(self.spec)
        self._twin.take(module.code.logical_state(module.model))
        health = self._twin.health(x_BV)
        analysis = self.spec.analysis
        kept = filter_ignored(analysis.document, signs(analysis, health, module.position.step))
        found = {"rows": health.rows, "signs": sentences(kept)}
        return found | (epoch.numbers(health, module.tasks) if self._logs else {})


def _batches(trainer: lightning.Trainer) -> float:
    """Number of batches of a validation, possibly infinite."""
    counts = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
    return max(1, sum(counts))
