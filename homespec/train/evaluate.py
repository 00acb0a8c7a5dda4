"""Training: predictions on the held-out rows -> what each task's metrics are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from homespec.data.batches import Batch
from homespec.diagnostics.suggest import closest
from homespec.schema.models import Spec
from homespec.train import RunError, metrics
from homespec.train.distributed import gather_on_rank_zero
from homespec.train.metrics import HIGHER_IS_BETTER
from homespec.train.settings import Settings

Measured = dict[str, dict[str, float]]
"""By task and metric."""


def metric_names(measured: Measured) -> dict[str, float]:
    """The same as `METRIC/TASK`, which is what loggers call it."""
    return {
        f"{metric}/{task}": value for task, own in measured.items() for metric, value in own.items()
    }


@dataclass
class Predictions:
    """Collects scores, labels and users of one pass over the held-out rows, on the CPU."""

    tasks: tuple[str, ...]
    observed: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    """Labels by task -> those of each task's own samples."""
    _parts: list[tuple[Tensor, Tensor, Tensor | None]] = field(default_factory=list)

    def add(self, batch: Batch, logits: dict[str, Tensor]) -> None:
        """The predictions of one batch."""
        labels = self.observed(batch.labels)
        scores_TB, labels_TB = (
            torch.stack([values[task].float() for task in self.tasks]).cpu()
            for values in (logits, labels)
        )
        self._parts.append((scores_TB, labels_TB, batch.users))

    def take(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Scores [T, N], labels [T, N] and users [N] of all batches, which are forgotten.

        Of several processes the first gets those of all, in the order of the rows; what the others
        get is not to be used.
        """
        scores, labels, users = zip(*self._parts, strict=True)
        self._parts.clear()
        joined = None if users[0] is None else _of_all(torch.cat([u.cpu() for u in users]))
        scores_NT, labels_NT = (_of_all(torch.cat(each, 1).T) for each in (scores, labels))
        return scores_NT.T, labels_NT.T, joined


def _of_all(values_N: Tensor) -> Tensor:
    found_N = gather_on_rank_zero(values_N)
    return values_N[:0] if found_N is None else found_N


@dataclass(frozen=True)
class Measures:
    """What is measured of the tasks of a spec."""

    kinds: Mapping[str, str]
    scales: Mapping[str, float]
    weights: Mapping[str, float]

    @classmethod
    def of(cls, spec: Spec) -> Measures:
        """The measures of a spec."""
        return cls(
            {name: task.kind for name, task in spec.tasks.items()},
            {name: task.scale for name, task in spec.tasks.items()},
            {name: task.weight for name, task in spec.tasks.items()},
        )

    def measured(
        self, tasks: tuple[str, ...], scores_TN: Tensor, labels_TN: Tensor, users: Tensor | None
    ) -> Measured:
        """The metrics of each task."""
        values = {}
        of_users = None if users is None else metrics.close_together(users.numpy())
        for task, score_N, label_N in zip(tasks, scores_TN, labels_TN, strict=True):
            values[task] = {"rate": float(label_N.double().nanmean())} | metrics.measure(
                self.kinds[task], score_N.numpy(), label_N.numpy(),
                of_users, self.scales.get(task, 1.0),
            )  # fmt: skip
        return values

    def monitor(self, settings: Settings) -> Monitor:
        """The metric to compare epochs by. Raises RunError if no task has it."""
        kinds = set(self.kinds.values())
        name = settings.monitor or ("auc" if "binary" in kinds else "mae")
        metric, _, task = name.partition("/")
        tasks = self._tasks_with(metric)
        if not tasks or (task and task not in tasks):
            raise RunError(self._no_metric(name))
        if metric == "gauc" and settings.gauc_by is None:
            raise RunError("--monitor gauc needs the column of users: give --gauc-by COLUMN")
        return Monitor(name, metric, {t: self.weights[t] for t in ([task] if task else tasks)})

    def _tasks_with(self, metric: str) -> list[str]:
        """The tasks that have a metric of those that may pick the best epoch."""
        kind = "regression" if metric in ("mae", "rmse") else "binary"
        return [t for t, own in self.kinds.items() if own == kind and metric in HIGHER_IS_BETTER]

    def _no_metric(self, name: str) -> str:
        here = [metric for metric in HIGHER_IS_BETTER if self._tasks_with(metric)]
        of_tasks = [f"{metric}/{task}" for metric in here for task in self._tasks_with(metric)]
        near = closest(name, of_tasks if "/" in name else here)
        remedy = f"did you mean {near}?" if near else f"give one of {', '.join(here)},"
        also = f" perhaps with a slash and a task, such as {of_tasks[0]}"
        return f"--monitor {name} is no metric of this spec: {remedy}{'' if near else also}"


@dataclass(frozen=True)
class Monitor:
    """One number for an epoch: the mean of a metric over tasks, by the weights of their losses."""

    name: str
    metric: str
    weights: Mapping[str, float]

    def value(self, measured: Measured) -> float:
        """The mean over the tasks that have the metric; NaN if none has."""
        own = {task: measured[task] for task in self.weights}
        return metrics.weighted(own, self.metric, self.weights)

    def better(self, value: float, than: float) -> bool:
        """Whether a value is better than another; NaN is not, nor is any better than NaN."""
        return metrics.is_better(self.metric, value, than)
