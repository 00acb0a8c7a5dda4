"""Health: the measures that compare two runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from homespec.health.measures import Health, Source, Task


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
    """The lowest weight, over layers, of a task's own experts relative to their fair share."""
    return _least(source.weight / source.fair for source in _own_sources(run, task))


def own_contribution(run: Health, task: str) -> float:
    """The same for their contribution with the self gate."""
    return _least(source.contribution_with_self / source.fair for source in _own_sources(run, task))


def _own_sources(run: Health, task: str) -> Iterator[Source]:
    """The part of its own experts in a task's gates, by layer."""
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
