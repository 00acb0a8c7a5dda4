"""The doctor: the loss of each task on each row.

Their means are the losses of the generated file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from homespec.runtime import GeneratedModule, observed


class RowLosses:
    """Maps logits [T, B] and labels by task to losses [T, B], NaN where a task has no label."""

    def __init__(self, code: GeneratedModule) -> None:
        file: Any = code
        self.tasks = code.TASKS
        self._observed = observed(code)
        self._scales: Mapping[str, float] = getattr(file, "SCALES", {})
        self._measures: dict[str, Callable[..., Tensor]]
        self._measures = dict.fromkeys(self.tasks, F.binary_cross_entropy_with_logits)
        for loss, tasks in getattr(file, "MEASURES", {}).items():
            self._measures |= dict.fromkeys(tasks, loss)
        for tasks, loss, shape in getattr(file, "LOSS_RUNS", ()):
            own = functools.partial(_shaped, file.shaped_entropies, shape) if shape else loss
            self._measures |= dict.fromkeys(tasks, own)

    def labels(self, labels: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        """Labels [T, B], NaN outside a task's sample space and where a row's weight is 0."""
        own = self._observed(labels, weights)
        return torch.stack([own[task].double() for task in self.tasks])

    def __call__(self, logits_TB: Tensor, labels_TB: Tensor) -> Tensor:
        """The losses, float64."""
        rows = [
            self._measures[task](logit, (label / self._scales.get(task, 1.0)), reduction="none")
            for task, logit, label in zip(
                self.tasks, logits_TB.double(), labels_TB.nan_to_num(), strict=True
            )
        ]
        return torch.stack(rows).masked_fill(labels_TB.isnan(), torch.nan)


def _shaped(
    entropies: Callable[..., Tensor],
    shape: Mapping[str, float],
    logits: Tensor,
    labels: Tensor,
    reduction: str,
) -> Tensor:
    """A cross-entropy of another kind, with the signature of torch's."""
    assert reduction == "none"
    return entropies(logits, labels, **shape)
