"""Health: the verdict of the measured losses on a change: it costs, it is free, or it is open."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from homespec.diagnostics import Span
from homespec.graph.nodes import ExpertSet, Node, Placed
from homespec.health.losses import Losses
from homespec.health.measures import Effect, Kind
from homespec.health.thresholds import Thresholds
from homespec.lower import Lowered


class Verdict(Enum):
    """The meaning of the interval of a loss's change."""

    COSTS = "costs"
    """The loss rises: the interval is above 0 and reaches beyond `negligible`."""
    FREE = "free"
    """The loss falls, or rises by a negligible amount: the whole interval is below `negligible`."""
    OPEN = "open"
    """The interval allows both, or the task has too few positives."""


def owning_span(lowered: Lowered, node: Node) -> Span:
    """The place in the spec that defines a node, or its group or task if it is there by default."""
    if node.span != lowered.graph.span or not isinstance(node, Placed):
        return node.span
    paths = [(section, node.path[0]) for section in ("tasks", "groups")]
    return lowered.first_span(paths, key=True)


@dataclass(frozen=True)
class Examined(Losses):
    """The health of a model and its spec: the input of the rules."""

    lowered: Lowered

    @property
    def limits(self) -> Thresholds:
        """The thresholds."""
        return self.health.thresholds

    @property
    def can_judge(self) -> bool:
        """Whether losses were measured."""
        return bool(self.health.knockouts)

    @property
    def has_rows(self) -> bool:
        """Whether there are enough rows to conclude that something is the same in all of them."""
        return self.health.rows >= self.limits.positives

    def node(self, name: str) -> Placed:
        """The node of a set or gate, or the node that contains an expert or LoRA."""
        graph = self.lowered.graph
        while name not in graph:
            name = name.rpartition(".")[0]
        node = graph[name]
        assert isinstance(node, Placed)
        return node

    def span(self, name: str) -> Span:
        """The place in the spec that owns an expert, a set or a gate."""
        return owning_span(self.lowered, self.node(name))

    def owner(self, name: str) -> str:
        """The node of the task tree that owns an expert, a set or a gate."""
        return self.node(name).path[0]

    def set_of(self, name: str) -> ExpertSet:
        """A set of experts."""
        node = self.lowered.graph[name]
        assert isinstance(node, ExpertSet)
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
        return frozenset(found & set(self.lowered.spec.tasks))

    # ------------------------------------------------------------ verdicts

    def of_effect(self, effect: Effect) -> Verdict:
        """The verdict of one effect; open if its task has too few positives."""
        if self._unchanged(effect):
            return Verdict.FREE
        if not self.judged(effect):
            return Verdict.OPEN
        if self.relative(effect).high < self.limits.negligible:
            return Verdict.FREE
        return Verdict.COSTS if effect.low > 0 else Verdict.OPEN

    def verdict(self, kind: Kind, target: str, tasks: Collection[str] | None = None) -> Verdict:
        """The verdict of a knock-out on some tasks, or all: it costs if it costs one of them.

        It is free if it is free for all tasks that can be judged. These must include all tasks of
        the group or task that owns the target, or at least one if the root owns it.
        """
        said = [self.of_effect(effect) for effect in self._judged(kind, target, tasks)]
        if Verdict.COSTS in said:
            return Verdict.COSTS
        owner = self.owner(target)
        served = self.below(owner) if tasks is None else frozenset(tasks)
        of_served = [e for e in self._effects(kind, target, tasks) if e.task in served]
        known = owner == self.lowered.root.name or all(map(self._counts, of_served))
        return Verdict.FREE if said and known and Verdict.OPEN not in said else Verdict.OPEN

    def _effects(self, kind: Kind, target: str, tasks: Collection[str] | None) -> list[Effect]:
        effects = self.effects(kind, target).values()
        return [effect for effect in effects if tasks is None or effect.task in tasks]

    def _judged(self, kind: Kind, target: str, tasks: Collection[str] | None) -> list[Effect]:
        return [e for e in self._effects(kind, target, tasks) if self._counts(e)]

    def _counts(self, effect: Effect) -> bool:
        """Whether the task has enough positives, or no row changes at all."""
        return self.tasks[effect.task].judged or self._unchanged(effect)

    def _unchanged(self, effect: Effect) -> bool:
        """Whether the change affects no row of the sample, which has more than a few rows."""
        return effect.low == effect.high == 0 and self.health.sample_rows >= self.limits.positives

    def highest(self, kind: Kind, target: str) -> float:
        """The largest upper end of an interval of a judged task, relative to its loss."""
        judged = self._judged(kind, target, None)
        return max((self.relative(effect).high for effect in judged), default=-math.inf)

    def describe(self, kind: Kind, target: str, tasks: Collection[str] | None = None) -> str:
        """The largest effect on the tasks that can be judged: `+0.02 % of the loss of like`."""
        judged = self._judged(kind, target, tasks)
        if not judged:
            return "no task could be judged"
        most = max(judged, key=lambda effect: self.relative(effect).high)
        part = self.relative(most)
        text = (
            f"{part.change:+.2%} of the loss of `{most.task}`,"
            f" 95 % interval {part.low:+.2%} to {part.high:+.2%}"
        )
        unjudged = [e.task for e in self._effects(kind, target, tasks) if e not in judged]
        return f"{text}; not judged: {', '.join(unjudged)}" if unjudged else text
