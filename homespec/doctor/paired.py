"""The doctor: differences between the losses of two models on the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from homespec.graph import Graph
from homespec.graph.nodes import Objective
from homespec.health.measures import Effect
from homespec.scoring.intervals import Z


class KeptLosses:
    """The losses of one model on all rows; takes 4 bytes for each row and task."""

    def __init__(self, graph: Graph) -> None:
        self.tasks = graph.tasks
        self.measures = {
            o.task: (
                o.label, o.unknown, o.where_label, o.where_unknown,
                o.loss, o.scale, o.pos_weight, o.focal,
            )
            for o in graph.of(Objective)
        }  # fmt: skip
        """The definition of each task's loss: only equal ones can be compared."""
        self._batches: list[Tensor] = []

    def add(self, losses_TB: Tensor) -> None:
        """Add rows in order. A loss is NaN where a task has no label."""
        self._batches.append(losses_TB.cpu().float())

    def of(self, task: str) -> Tensor:
        """The losses of one task [N]."""
        number = self.tasks.index(task)
        return torch.cat([batch[number] for batch in self._batches])


def loss_changes(one: KeptLosses, other: KeptLosses) -> Iterator[Effect]:
    """Mean losses of one model minus those of another, for tasks whose losses are defined alike.

    The mean and its 95 % interval are those of the differences of rows, so rows that are hard for
    both models do not widen the interval.
    """
    for task, measure in one.measures.items():
        if other.measures.get(task) == measure:
            differences = one.of(task) - other.of(task)
            yield _effect(task, differences[~differences.isnan()].double())


def _effect(task: str, differences_N: Tensor) -> Effect:
    if len(differences_N) < 2:
        return Effect(task, math.nan, math.nan, math.nan)
    mean = float(differences_N.mean())
    error = float(differences_N.std()) / math.sqrt(len(differences_N))
    return Effect(task, mean, mean - Z * error, mean + Z * error)
