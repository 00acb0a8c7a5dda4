"""Training: computes each task's metrics from predictions on the held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from homespec.data.batches import Batch
from homespec.diagnostics.suggest import closest
from homespec.runtime import Observed
from homespec.schema.models import Spec
from homespec.schema.sessions import session_column
from homespec.train import RunError, metrics
from homespec.train.distributed import gather_on_rank_zero
from homespec.train.metrics import HIGHER_IS_BETTER
from homespec.train.settings import Settings

Measured = dict[str, dict[str, float]]
"""Values by task and metric."""


def metric_names(measured: Measured) -> dict[str, float]:
    """The values by `METRIC/TASK`, their names in loggers."""
    return {
        f"{metric}/{task}": value for task, own in measured.items() for metric, value in own.items()
    }


class Predicted(NamedTuple):
    """Rows with predictions."""

    scores_TN: Tensor
    labels_TN: Tensor
    users_N: Tensor | None = None
    weights_TN: Tensor | None = None
    """Sample weights for the metrics; None for equal weights."""

    def part(self, rows: Tensor) -> Predicted:
        """A subset of the rows."""
        users, weights = self.users_N, self.weights_TN
        return Predicted(
            self.scores_TN[:, rows],
            self.labels_TN[:, rows],
            None if users is None else users[rows],
            None if weights is None else weights[:, rows],
        )


@dataclass
class Predictions:
    """Collects scores, labels, users and perhaps weights of one pass over the held-out rows, on the
    CPU.
    """

    tasks: tuple[str, ...]
    observed: Observed
    """Maps labels and sample weights by task to the labels of each task's own samples."""
    weighted: bool = False
    """Whether sample weights are kept."""
    _parts: list[Predicted] = field(default_factory=list)

    def add(self, batch: Batch, logits: dict[str, Tensor]) -> None:
        """Add the predictions of one batch."""
        labels = self.observed(batch.labels, batch.weights)
        scores_TB, labels_TB = (
            torch.stack([values[task].float() for task in self.tasks]).cpu()
            for values in (logits, labels)
        )
        weights_TB = None
        if self.weighted and batch.weights:
            ones = torch.ones_like(next(iter(batch.weights.values())))
            weights_TB = torch.stack([batch.weights.get(task, ones) for task in self.tasks]).cpu()
        self._parts.append(Predicted(scores_TB, labels_TB, batch.users, weights_TB))

    def take(self) -> Predicted:
        """Return the rows of all batches, and forget them.

        With several processes, the first gets the rows of all, in order. The values in the others
        are meaningless.
        """
        scores, labels, users, weights = zip(*self._parts, strict=True)
        self._parts.clear()
        joined = None if users[0] is None else _of_all(torch.cat([u.cpu() for u in users]))
        scores_NT, labels_NT = (_of_all(torch.cat(each, 1).T) for each in (scores, labels))
        weights_TN = None if weights[0] is None else _of_all(torch.cat(weights, 1).T).T
        return Predicted(scores_NT.T, labels_NT.T, joined, weights_TN)


def _of_all(values_N: Tensor) -> Tensor:
    found_N = gather_on_rank_zero(values_N)
    return values_N[:0] if found_N is None else found_N


@dataclass(frozen=True)
class Measures:
    """The metrics of a spec's tasks."""

    kinds: Mapping[str, str]
    scales: Mapping[str, float]
    weights: Mapping[str, float]
    sessions: str | None = None
    """The column of sessions, which is used for GAUC unless there is one of users."""

    @classmethod
    def of(cls, spec: Spec) -> Measures:
        """The measures of a spec."""
        return cls(
            {name: task.kind for name, task in spec.tasks.items()},
            {name: task.scale for name, task in spec.tasks.items()},
            {name: task.weight for name, task in spec.tasks.items()},
            session_column(spec),
        )

    def measured(self, tasks: tuple[str, ...], rows: Predicted) -> Measured:
        """The metrics of each task."""
        values = {}
        users, weights = rows.users_N, rows.weights_TN
        of_users = None if users is None else metrics.close_together(users.numpy())
        for number, task in enumerate(tasks):
            score_N, label_N = rows.scores_TN[number], rows.labels_TN[number]
            own = None if weights is None else weights[number].numpy()
            values[task] = {"rate": _rate(label_N, own)} | metrics.measure(
                self.kinds[task], score_N.numpy(), label_N.numpy(),
                of_users, self.scales.get(task, 1.0), own,
            )  # fmt: skip
        return values

    def monitor(self, settings: Settings) -> Monitor:
        """The metric that compares epochs. Raises RunError if no task has it."""
        kinds = set(self.kinds.values())
        name = settings.monitor or ("auc" if "binary" in kinds else "mae")
        metric, _, task = name.partition("/")
        tasks = self._tasks_with(metric)
        if not tasks or (task and task not in tasks):
            raise RunError(self._no_metric(name))
        if metric == "gauc" and not (settings.gauc_by or self.sessions):
            raise RunError("--monitor gauc needs the column of users: give --gauc-by COLUMN")
        return Monitor(name, metric, {t: self.weights[t] for t in ([task] if task else tasks)})

    def _tasks_with(self, metric: str) -> list[str]:
        """The tasks that have a metric, if it may choose the best epoch."""
        kind = "regression" if metric in ("mae", "rmse") else "binary"
        return [t for t, own in self.kinds.items() if own == kind and metric in HIGHER_IS_BETTER]

    def _no_metric(self, name: str) -> str:
        here = [metric for metric in HIGHER_IS_BETTER if self._tasks_with(metric)]
        of_tasks = [f"{metric}/{task}" for metric in here for task in self._tasks_with(metric)]
        near = closest(name, of_tasks if "/" in name else here)
        remedy = f"did you mean {near}?" if near else f"give one of {', '.join(here)},"
        also = f" perhaps with a slash and a task, such as {of_tasks[0]}"
        return f"--monitor {name} is not a metric of this spec: {remedy}{'' if near else also}"


def _rate(label_N: Tensor, weights: metrics.Array | None) -> float:
    """The mean label."""
    if weights is None:
        return float(label_N.double().nanmean())
    seen = ~label_N.isnan().numpy()
    return metrics.mean(label_N.numpy()[seen], weights[seen])


@dataclass(frozen=True)
class Monitor:
    """One number for an epoch: the mean of a metric over tasks, weighted by their loss weights."""

    name: str
    metric: str
    weights: Mapping[str, float]

    def value(self, measured: Measured) -> float:
        """The mean over the tasks that have the metric; NaN if none has."""
        own = {task: measured[task] for task in self.weights}
        return metrics.weighted(own, self.metric, self.weights)

    def better(self, value: float, than: float) -> bool:
        """Whether a value is better than another; False if one of them is NaN."""
        return metrics.is_better(self.metric, value, than)
