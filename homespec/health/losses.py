"""Health: the measured losses, indexed by the change of the model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from homespec.health.measures import Effect, Expert, Health, Kind, Knockout, Task


@dataclass(frozen=True)
class Losses:
    """The health of a model, and its parts by name."""

    health: Health

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks by name."""
        return {task.name: task for task in self.health.tasks}

    @cached_property
    def experts(self) -> dict[str, Expert]:
        """The experts by name."""
        return {expert.name: expert for expert in self.health.experts}

    @cached_property
    def _knockouts(self) -> dict[tuple[Kind, str], Knockout]:
        return {(each.kind, each.target): each for each in self.health.knockouts}

    def effects(self, kind: Kind, target: str) -> dict[str, Effect]:
        """The effects of one knock-out, by task."""
        found = self._knockouts.get((kind, target))
        return {effect.task: effect for effect in found.effects} if found else {}

    def relative(self, effect: Effect) -> Effect:
        """The effect relative to the loss of its task."""
        return effect.by(self.tasks[effect.task].loss)

    def judged(self, effect: Effect) -> bool:
        """Whether the task has enough positives, and a loss to compare with."""
        task = self.tasks[effect.task]
        return task.judged and task.loss > 0

    def most(self, kind: Kind, target: str) -> Effect | None:
        """The largest relative effect on a task that can be judged.

        An effect whose interval is above 0 takes precedence, however large the others seem.
        """
        effects = self.effects(kind, target).values()
        known = map(self.relative, filter(self.judged, effects))
        return max(known, key=lambda effect: (effect.low > 0, effect.change), default=None)
