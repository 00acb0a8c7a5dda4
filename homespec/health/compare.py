"""Health: the measures of two runs side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from homespec.health.measures import Effect, Health, Source, Task


@dataclass(frozen=True)
class Row:
    """One measure of several runs; None where a run does not have it."""

    what: str
    values: tuple[float | None, ...]
    sign: int = 0
    """1 if more is better, -1 if less is better, 0 if neither is."""
    interval: Effect | None = None
    """The change with its interval, where that was measured."""


def compare(runs: Iterable[Health], changes: Iterable[Effect] = ()) -> list[Row]:
    """The measures of the tasks, then those of whole models; losses with their measured changes."""
    runs, by_task = tuple(runs), {change.task: change for change in changes}
    names = dict.fromkeys(task.name for run in runs for task in run.tasks)
    rows = [row for name in names for row in _of_task(name, runs, by_task.get(name))]
    return rows + [
        Row(what, tuple(_known(of(run)) for run in runs), SIGNS.get(what, 0))
        for what, of in MEASURES.items()
    ]


def _of_task(name: str, runs: tuple[Health, ...], change: Effect | None) -> Iterator[Row]:
    for what, of in OF_TASK.items():
        values = (
            next((_known(of(run, task)) for task in run.tasks if task.name == name), None)
            for run in runs
        )
        interval = change if what == "loss" else None
        yield Row(f"{name}: {what}", tuple(values), SIGNS.get(what, 0), interval)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _most(values: Iterable[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def _least(values: Iterable[float]) -> float:
    return min((value for value in values if not math.isnan(value)), default=math.nan)


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


MEASURES: dict[str, Callable[[Health], float]] = {
    "zeros, mean": lambda run: _mean(e.zeros for e in run.experts),
    "zeros, most": lambda run: _most(e.zeros for e in run.experts),
    "near 0, most": lambda run: _most(e.near_zeros for e in run.experts),
    "dead channels, most": lambda run: _most(e.dead_channels for e in run.experts),
    "scale ratio, most": lambda run: _most(g.scale_ratio for g in run.gates),
    "similarity, most": lambda run: _most(e.similarity for e in run.experts),
    "evenness of use, least": lambda run: _least(
        e.evenness for e in run.experts if len(e.uses) > 1
    ),
    "perplexity of gates, mean": lambda run: _mean(
        g.perplexity for g in run.gates if len(g.experts) > 1
    ),
    "spread of gates over rows, mean": lambda run: _mean(
        math.sqrt(g.variance_rows) for g in run.gates if len(g.experts) > 1
    ),
    "saturated, most": lambda run: _most(g.saturated for g in run.feature_gates),
}
"""The measures of a whole model."""


def own_weight(run: Health, task: str) -> float:
    """The weight of a task's own experts by their fair share, in the layer where it is least."""
    return _least(source.weight / source.fair for source in _own_sources(run, task))


def own_contribution(run: Health, task: str) -> float:
    """The same of their contribution with the self gate."""
    return _least(source.contribution_with_self / source.fair for source in _own_sources(run, task))


def _own_sources(run: Health, task: str) -> Iterator[Source]:
    """What the task's gates take from its own experts, by layer."""
    for gate in run.gates:
        yield from (source for source in gate.sources if gate.owner == source.owner == task)


def _own(run: Health, task: Task) -> float:
    return own_contribution(run, task.name)


OF_TASK: dict[str, Callable[[Health, Task], float]] = {
    "loss": lambda _, task: task.loss,
    "AUC": lambda _, task: task.auc,
    "own contribution / fair": _own,
}
"""The measures of each task."""

SIGNS = {
    "loss": -1, "AUC": 1, "zeros, mean": -1, "zeros, most": -1, "near 0, most": -1,
    "dead channels, most": -1, "scale ratio, most": -1, "similarity, most": -1,
    "saturated, most": -1,
}  # fmt: skip
"""Of which measures more, or less, is better."""
