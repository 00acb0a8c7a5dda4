"""Health: what the measured losses say of a change: that it costs, that it does not, or neither."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from homespec.diagnostics import Span
from homespec.graph.nodes import ExpertSet, FeatureGate, Node, Placed
from homespec.health.measures import Effect, Expert, Health, Kind, Knockout, Task
from homespec.health.thresholds import Thresholds
from homespec.lower import Lowered


class Verdict(Enum):
    """What an interval of the change of a loss says."""

    COSTS = "costs"
    """The loss rises: the interval is above 0, and reaches what is not negligible."""
    FREE = "free"
    """The loss rises by less than what is negligible, or falls: all of the interval is below."""
    OPEN = "open"
    """The interval holds both, or the task has too few positives."""


def owning_span(lowered: Lowered, node: Node) -> Span:
    """The place that speaks of a node; of what is so by default its group or task."""
    if node.span != lowered.graph.span or not isinstance(node, Placed):
        return node.span
    paths = [(section, node.path[0]) for section in ("tasks", "groups")]
    return lowered.first_span(paths, key=True)


@dataclass(frozen=True)
class Examined:
    """A spec and the health of a model of it: what the rules look at."""

    lowered: Lowered
    health: Health

    @cached_property
    def limits(self) -> Thresholds:
        """The thresholds."""
        return Thresholds(**self.health.thresholds)

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks by name."""
        return {task.name: task for task in self.health.tasks}

    @cached_property
    def experts(self) -> dict[str, Expert]:
        """The experts by name."""
        return {expert.name: expert for expert in self.health.experts}

    @cached_property
    def knockouts(self) -> dict[tuple[Kind, str], Knockout]:
        """The knock-outs by kind and target."""
        return {(each.kind, each.target): each for each in self.health.knockouts}

    @property
    def can_judge(self) -> bool:
        """Whether losses were measured."""
        return bool(self.health.knockouts)

    def span(self, name: str) -> Span:
        """The place of the spec that owns an expert, a set or a gate."""
        graph = self.lowered.graph
        while name not in graph:
            name = name.rpartition(".")[0]
        return owning_span(self.lowered, graph[name])

    def set_of(self, name: str) -> ExpertSet:
        """A node of experts."""
        node = self.lowered.graph[name]
        assert isinstance(node, ExpertSet)
        return node

    def feature_gate(self, name: str) -> FeatureGate:
        """A node of a feature gate."""
        node = self.lowered.graph[name]
        assert isinstance(node, FeatureGate)
        return node

    def below(self, place: str) -> frozenset[str]:
        """The tasks at or below a node of the task tree; all of them for the root.

        A product is below a node if one of its factors is.
        """
        root = self.lowered.root
        node = next(node for node in root.walk() if node.name == place)
        found = {leaf.name for leaf in node.walk() if not leaf.children}
        for name, task in self.lowered.spec.tasks.items():
            if task.product and found & set(task.product):
                found.add(name)
        return frozenset(found & set(self.tasks))

    # ------------------------------------------------------------ verdicts

    def relative(self, effect: Effect) -> tuple[float, float, float]:
        """The change of a loss and its interval by the loss itself."""
        loss = self.tasks[effect.task].loss
        return effect.change / loss, effect.low / loss, effect.high / loss

    def of_effect(self, effect: Effect) -> Verdict:
        """What one effect says; a task with too few positives says nothing."""
        task = self.tasks[effect.task]
        if not task.judged or not task.loss > 0:
            return Verdict.OPEN
        _, low, high = self.relative(effect)
        if high < self.limits.negligible:
            return Verdict.FREE
        return Verdict.COSTS if low > 0 else Verdict.OPEN

    def verdict(self, kind: Kind, target: str, tasks: Collection[str] | None = None) -> Verdict:
        """What a knock-out says of some tasks, or all: it costs if one of them pays.

        It is free if all that can be judged say so, of which there must be one.
        """
        found = self.knockouts.get((kind, target))
        effects = () if found is None else found.effects
        said = [
            self.of_effect(effect)
            for effect in effects
            if (tasks is None or effect.task in tasks) and self.tasks[effect.task].judged
        ]
        if Verdict.COSTS in said:
            return Verdict.COSTS
        return Verdict.FREE if said and Verdict.OPEN not in said else Verdict.OPEN

    def highest(self, kind: Kind, target: str) -> float:
        """The largest upper end of an interval of a judged task, by its loss."""
        found = self.knockouts.get((kind, target))
        judged = [e for e in found.effects if self.tasks[e.task].judged] if found else []
        return max((self.relative(e)[2] for e in judged), default=-math.inf)

    def describe(self, kind: Kind, target: str, tasks: Collection[str] | None = None) -> str:
        """The largest effect on the tasks that can be judged: `+0.02 % (like)`."""
        found = self.knockouts.get((kind, target))
        judged = [
            (self.relative(effect), effect.task)
            for effect in (() if found is None else found.effects)
            if (tasks is None or effect.task in tasks) and self.tasks[effect.task].judged
        ]
        if not judged:
            return "no task could be judged"
        (change, low, high), task = max(judged, key=lambda one: one[0][2])
        return f"{change:+.2%} of the loss of `{task}`, 95 % interval {low:+.2%} to {high:+.2%}"
