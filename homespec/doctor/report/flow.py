"""The doctor's report: one layer as a flow from expert sets to the gates that mix them."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.doctor.report import svg
from homespec.doctor.report.needs import step
from homespec.health.losses import Losses
from homespec.health.measures import Expert, Gate, Health, short

ROW = 34
WIDTH = 860
SETS_END, GATES = 330, 640
DOT = 16
MOST_DOTS = 10
"""Experts of a set that are drawn; of more the last one says how many."""


def layers(health: Health) -> list[str]:
    """The names of layers, from the input on."""
    return list(dict.fromkeys(expert.layer for expert in health.experts))


def flow(losses: Losses, layer: str) -> str:
    """The sets of a layer on the left, its gates on the right, mean weights as links between."""
    health, sets = losses.health, dict[str, list[Expert]]()
    for expert in health.experts:
        if expert.layer == layer:
            sets.setdefault(expert.set, []).append(expert)
    gates = [gate for gate in health.gates if gate.layer == layer]
    height = max(len(sets), len(gates)) * ROW + 10
    left, right = _places(len(sets), height), _places(len(gates), height)
    at = dict(zip(sets, left, strict=True))
    shapes = [
        *(shape for gate, y in zip(gates, right, strict=True) for shape in _links(gate, y, at)),
        *(shape for name, own in sets.items() for shape in _set(own, at[name], losses)),
        *(shape for gate, y in zip(gates, right, strict=True) for shape in _gate(gate, y)),
    ]
    return svg.drawing(
        WIDTH, height, f"Layer {layer}: experts, and the gates that mix them", shapes
    )


def _places(count: int, height: float) -> list[float]:
    return [height * (number + 0.5) / count for number in range(count)]


def _links(gate: Gate, y: float, at: dict[str, float]) -> Iterator[str]:
    for source in gate.sources:
        title = (
            f"{gate.owner} takes {source.weight:.0%} from {source.owner} (fair {source.fair:.0%})"
        )
        width = 0.5 + 12 * source.weight
        yield svg.link((SETS_END, at[source.set]), (GATES, y), width, title)


def _set(experts: list[Expert], y: float, losses: Losses) -> Iterator[str]:
    yield svg.text(SETS_END - 16 - DOT * 10.5, y + 4, experts[0].owner, "label", "end")
    shown = experts[:MOST_DOTS]
    start = SETS_END - 8 - DOT * len(shown)
    for number, expert in enumerate(shown):
        x = start + DOT * number
        yield svg.rect(x, y - 8, DOT - 2, DOT, _class(expert, losses), _title(expert, losses))
    if len(experts) > MOST_DOTS:
        yield svg.text(start - 6, y + 4, f"{len(experts)}", "small", "end")


def _class(expert: Expert, losses: Losses) -> str:
    dead = " dead" if expert.near_zeros > losses.health.thresholds.zeros else ""
    return step(losses.most("without_expert", expert.name)) + dead


def _title(expert: Expert, losses: Losses) -> str:
    most = losses.most("without_expert", expert.name)
    need = "not judged"
    if most is not None:
        need = f"without it {most.change:+.2%} of the loss of {most.task}"
        need += "" if most.sure else f" (95 % interval {most.low:+.2%} to {most.high:+.2%})"
    size = f"mean |a| {expert.mean_abs:.3g}, zeros {expert.zeros:.0%}"
    return f"{short(expert.name)}: {need}; {size}"


def _gate(gate: Gate, y: float) -> Iterator[str]:
    title = f"perplexity {gate.perplexity:.2f}; std over rows {gate.variance_rows**0.5:.3f}"
    yield svg.circle(GATES, y, 5, "gate", title)
    yield svg.text(GATES + 12, y + 4, gate.owner, "label")
