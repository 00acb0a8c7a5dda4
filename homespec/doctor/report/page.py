"""The doctor's report: everything on one page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import jinja2

from homespec.diagnostics import Report, Severity
from homespec.doctor.report import charts
from homespec.doctor.report.flow import flow, layers
from homespec.doctor.report.needs import LABELS, UNKNOWN, step
from homespec.health.compare import own_contribution, own_weight
from homespec.health.losses import Losses
from homespec.health.measures import (
    Effect,
    Expert,
    FeatureGate,
    Gate,
    Health,
    SelfGate,
    Task,
    short,
)
from homespec.version import __version__


class Cell(NamedTuple):
    """A cell of a table: its text, the class of its colour, and what a pointer is shown."""

    text: str
    kind: str = ""
    title: str = ""


class Line(NamedTuple):
    """A row of a table: its name and its cells."""

    name: str
    cells: list[Cell]


class Found(NamedTuple):
    """A finding with the line of the spec that it is at."""

    severity: str
    code: str
    rule: str
    message: str
    """In HTML."""
    place: str
    source: str
    help: str


def page(health: Health, report: Report) -> str:
    """The report of one run as HTML."""
    losses = Losses(health)
    return _template().render(
        health=health,
        run=Path(health.run).name,
        version=__version__,
        found=sorted(_findings(report), key=lambda one: SEVERITIES.index(one.severity)),
        layers=[_layer(losses, name) for name in layers(health)],
        legend=[(f"need{number}", label) for number, label in enumerate(LABELS)],
        distributions=charts.distributions(health.experts),
        experts=[_expert(expert) for expert in health.experts],
        gates=[_gate(gate) for gate in health.gates if len(gate.experts) > 1],
        tasks=[_task(health, task) for task in health.tasks],
        curves=[(t.name, charts.calibration(t), charts.losses(t)) for t in health.tasks],
        feature_gates=[_feature_gate(gate) for gate in health.feature_gates],
        self_gates=[_self_gate(gate) for gate in health.self_gates],
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("homespec.doctor.report"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja")


SEVERITIES = [severity.value for severity in Severity]
"""The gravest first."""


def _findings(report: Report) -> Iterator[Found]:
    for one in report.diagnostics:
        lines = report.texts.get(one.span.file, "").splitlines()
        at = one.span.start.line
        yield Found(
            one.rule.severity.value,
            one.rule.code,
            one.rule.name,
            with_code(one.message),
            f"{Path(one.span.file).name}:{at}",
            lines[at - 1].strip() if 0 < at <= len(lines) else "",
            one.help,
        )


def with_code(words: str) -> str:
    """Words as HTML, with what is between backticks as code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(words))


# ---------------------------------------------------------------- a layer


class LayerPart(NamedTuple):
    """What the page shows of one layer."""

    name: str
    flow: str
    needs: list[Line]
    weights: list[Line]
    gates: list[str]


def _layer(losses: Losses, name: str) -> LayerPart:
    health = losses.health
    experts = [expert for expert in health.experts if expert.layer == name]
    gates = [gate for gate in health.gates if gate.layer == name]
    return LayerPart(
        name,
        flow(losses, name),
        [_need(expert, losses) for expert in experts] if health.knockouts else [],
        [_weights(expert, gates) for expert in experts],
        [gate.name.split(".", 2)[2] for gate in gates],
    )


def _need(expert: Expert, losses: Losses) -> Line:
    effects = losses.effects("without_expert", expert.name)
    return Line(_in_layer(expert), [_effect(effects.get(name), losses) for name in losses.tasks])


def _in_layer(expert: Expert) -> str:
    return f"{expert.owner}.{expert.index}"


def _effect(effect: Effect | None, losses: Losses) -> Cell:
    if effect is None:
        return Cell("")
    if not losses.judged(effect):
        return Cell("?", UNKNOWN, "too few positives to judge")
    part = losses.relative(effect)
    title = f"{part.low:+.2%} to {part.high:+.2%} of the loss of {part.task}"
    text = f"{100 * part.change:+.1f}"
    return Cell(text if part.sure else f"({text})", step(part), title)


def _weights(expert: Expert, gates: Sequence[Gate]) -> Line:
    return Line(_in_layer(expert), [_weight(expert.name, gate) for gate in gates])


def _weight(name: str, gate: Gate) -> Cell:
    if name not in gate.experts:
        return Cell("")
    weight = gate.mean[gate.experts.index(name)]
    kind = f"weight{min(4, int(weight * len(gate.experts) * 2))}"
    return Cell(f"{weight:.2f}", kind, f"even: {1 / len(gate.experts):.2f}")


# ---------------------------------------------------------------- tables


def _expert(expert: Expert) -> Line:
    used = expert.most_used
    by = f"{used.gate.split('.', 2)[2]} {used.share:.0%}" if used else "–"
    texts = [
        f"{expert.zeros:.1%}", f"{expert.near_zeros:.1%}", f"{expert.dead_channels:.0%}",
        number(expert.mean_abs), number(expert.std), number(expert.similarity), by,
    ]  # fmt: skip
    return Line(short(expert.name), list(map(Cell, texts)))


def _gate(gate: Gate) -> Line:
    texts = [
        str(len(gate.experts)), number(gate.perplexity), number(gate.mean_perplexity),
        number(math.sqrt(gate.variance_rows)), number(math.sqrt(gate.variance_gates)),
        number(gate.scale_ratio),
    ]  # fmt: skip
    return Line(short(gate.name), list(map(Cell, texts)))


def _feature_gate(gate: FeatureGate) -> Line:
    effects = ", ".join(number(lora.effect * lora.weight) for lora in gate.loras)
    texts = [
        f"{gate.low:.2f}", f"{gate.high:.2f}", number(gate.mean), number(gate.std),
        f"{gate.saturated:.1%}", effects,
    ]  # fmt: skip
    return Line(short(gate.name), list(map(Cell, texts)))


def _self_gate(gate: SelfGate) -> Line:
    texts = [", ".join(map(number, each)) for each in (gate.mean, gate.std)]
    return Line(short(gate.name), list(map(Cell, texts)))


def _task(health: Health, task: Task) -> Line:
    binary = task.kind == "binary"
    texts = [
        f"{task.positives:,}" if binary else "–",
        "–" if math.isnan(task.trained_positives) else f"{task.trained_positives:,.0f}",
        f"{task.loss:.4f}", number(task.auc),
        number(own_weight(health, task.name)), number(own_contribution(health, task.name)),
        number(task.gradients.own), number(task.gradients.group), number(task.gradients.shared),
    ]  # fmt: skip
    return Line(task.name, list(map(Cell, texts)))


def number(value: float) -> str:
    """Three digits; a dash for what could not be measured."""
    return f"{value:.3g}" if math.isfinite(value) else "–"
