"""The doctor's report: heat maps of the losses of tasks and of the weights of gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from homespec.doctor.report.needs import step
from homespec.health.losses import Losses
from homespec.health.measures import Effect, Expert, Gate, Kind
from homespec.health.tables import effect_text


class Cell(NamedTuple):
    """A cell: its text, the half width of its interval, and the class of its colour."""

    text: str
    spread: str = ""
    kind: str = ""


class Line(NamedTuple):
    """A row: its name and its cells."""

    name: str
    cells: list[Cell]


class Layer(NamedTuple):
    """The heat maps of one layer."""

    name: str
    needs: list[Line]
    """For each expert, how the loss of each task changes without it."""
    sets: list[Line]
    """For each set, the same with its outputs shuffled over rows, and without all its experts."""
    weights: list[Line]
    """For each expert, its mean weight in each gate."""
    gates: list[str]


def layers(losses: Losses) -> list[Layer]:
    """The heat maps of all layers, in order from the input."""
    names = dict.fromkeys(expert.layer for expert in losses.health.experts)
    return [_layer(losses, name) for name in names]


def _layer(losses: Losses, name: str) -> Layer:
    experts = [expert for expert in losses.health.experts if expert.layer == name]
    gates = [gate for gate in losses.health.gates if gate.layer == name]
    return Layer(
        name,
        [_effects(losses, in_layer(e), "without_expert", e.name) for e in experts]
        if losses.health.knockouts
        else [],
        _sets(losses, experts) if losses.health.knockouts else [],
        [Line(in_layer(e), [_weight(e.name, gate) for gate in gates]) for e in experts],
        [gate.name.split(".", 2)[2] for gate in gates],
    )


def in_layer(expert: Expert) -> str:
    """The name of an expert without its layer."""
    return f"{expert.owner}.{expert.index}"


def _sets(losses: Losses, experts: Sequence[Expert]) -> list[Line]:
    found = []
    for first in (expert for expert in experts if not expert.index):
        found.append(_effects(losses, f"{first.owner} shuffled", "shuffled_set", first.set))
        if sum(expert.set == first.set for expert in experts) > 1:
            found.append(_effects(losses, f"{first.owner} left out", "without_set", first.set))
    return found


def _effects(losses: Losses, name: str, kind: Kind, target: str) -> Line:
    effects = losses.effects(kind, target)
    return Line(name, [_effect(effects.get(task), losses) for task in losses.tasks])


def _effect(effect: Effect | None, losses: Losses) -> Cell:
    if effect is None:
        return Cell("")
    if not losses.judged(effect):
        return Cell("?")
    part = losses.relative(effect)
    digits = 0 if abs(part.change) >= 0.1 else 1
    spread = f"±{50 * (part.high - part.low):.{digits}f}"
    return Cell(effect_text(part, digits), spread, step(part))


def _weight(name: str, gate: Gate) -> Cell:
    if name not in gate.experts:
        return Cell("")
    weight = gate.mean[gate.experts.index(name)]
    return Cell(f"{weight:.2f}", "", f"weight{min(4, int(weight * len(gate.experts) * 2))}")
