"""The doctor's report: how much a task needs an expert, as a class of colour."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from homespec.health.measures import Effect, Health, Kind, Knockout, Task

STEPS = (0.001, 0.01, 0.03, 0.1)
"""Changes of a loss, by that loss, from which on a step of colour begins."""
LABELS = ("under 0.1 %", "0.1 to 1 %", "1 to 3 %", "3 to 10 %", "over 10 %")
BETTER, UNKNOWN = "better", "unknown"


@dataclass(frozen=True)
class Needs:
    """The knock-outs of a run by what was left out."""

    health: Health

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks by name."""
        return {task.name: task for task in self.health.tasks}

    @cached_property
    def _knockouts(self) -> dict[tuple[Kind, str], Knockout]:
        return {(each.kind, each.target): each for each in self.health.knockouts}

    def effects(self, kind: Kind, target: str) -> dict[str, Effect]:
        """Those of one knock-out, by task."""
        found = self._knockouts.get((kind, target))
        return {effect.task: effect for effect in found.effects} if found else {}

    def relative(self, effect: Effect) -> float | None:
        """The change by the loss; None where the task cannot be judged."""
        task = self.tasks[effect.task]
        return effect.change / task.loss if task.judged and task.loss > 0 else None

    def most(self, kind: Kind, target: str) -> tuple[float, str] | None:
        """The largest change of a judged task, and whose it is."""
        changes = [
            (change, task)
            for task, effect in self.effects(kind, target).items()
            if (change := self.relative(effect)) is not None
        ]
        return max(changes, default=None)


def step(change: float | None) -> str:
    """The class of a change of a loss."""
    if change is None:
        return UNKNOWN
    if change < -STEPS[0]:
        return BETTER
    return f"need{sum(change >= each for each in STEPS)}"
