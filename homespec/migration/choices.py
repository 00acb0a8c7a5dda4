"""Choices that a plan leaves open: how new parts of weights start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from homespec.analysis.axes import Role
from homespec.diff.carry import Carried, Plan, kept
from homespec.migration.starts import CHOICES

OPTIONS: dict[Role, str] = {"choice": "choice", "input": "input", "rows": "row"}
"""The field of `Starts` that determines how new parts of an axis start."""
SAYS = {
    "choice": "weighs more than before",
    "input": "reads more than before",
    "row": "has more rows than before",
}
"""The change of a tensor that makes each option necessary."""


@dataclass(frozen=True, slots=True)
class Open:
    """An option that must be given, and the one or more tensors that need it."""

    option: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        others = len(self.names) - 1
        more = f", and so do {others} others" if others > 1 else ", and so does another"
        return (
            f"{self.names[0]} {SAYS[self.option]}{more if others else ''}: choose how its new "
            f"parts start with --new-{self.option} {'|'.join(CHOICES[self.option])}"
        )


def open_choices(plan: Plan) -> Iterator[Open]:
    """The options that a plan needs, each once."""
    names: dict[str, list[str]] = {}
    for carried in plan.carried.values():
        for option in _needed(carried):
            names.setdefault(option, []).append(carried.tensor.name)
    for option in OPTIONS.values():
        if option in names:
            yield Open(option, tuple(names[option]))


def unanswered(plan: Plan, given: Mapping[str, str | None]) -> list[Open]:
    """The options that a plan needs and that `given` lacks."""
    return [one for one in open_choices(plan) if given.get(one.option) is None]


def _needed(carried: Carried) -> Iterator[str]:
    if carried.was_only:
        yield "choice"
    for axis, runs in zip(carried.tensor.axes, carried.runs, strict=False):
        if axis.role in OPTIONS and kept(runs) < axis.size:
            yield OPTIONS[axis.role]
