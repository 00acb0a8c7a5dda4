"""Command line: what the doctor measured, as tables."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from homespec.cli.show_tables import as_text, plain_table
from homespec.health.compare import compare, own_contribution, own_weight
from homespec.health.losses import Losses
from homespec.health.measures import Effect, Expert, Health, Kind, short

WIDTH = 10_000
"""What tables may take, a column for each task: a number cut short is worse than a long line."""


def tables(health: Health, color: bool) -> str:
    """The numbers of one run."""
    head = f"{health.rows:,} held-out rows, knock-outs on {health.sample_rows:,}"
    losses = Losses(health)
    parts: list[RenderableType] = [Text(head), _experts(health), _tasks(health), _gates(losses)]
    if health.feature_gates:
        parts.append(_feature_gates(losses))
    if health.self_gates:
        parts.append(_self_gates(health))
    if health.knockouts:
        parts += [_matrix(losses), Text(MATRIX_LEGEND)]
    return as_text(parts, color, WIDTH)


def comparison(runs: list[Health], color: bool) -> str:
    """The measures of several runs side by side."""
    table = plain_table("measure", *(f"{escape(Path(run.run).name)}#" for run in runs))
    for row in compare(runs):
        table.add_row(escape(row.what), *(_number(value) for value in row.values))
    return as_text([Text(f"{runs[0].rows:,} held-out rows"), table], color, WIDTH)


def _experts(health: Health) -> Table:
    table = plain_table(
        "expert", "zeros#", "near 0#", "dead\nchannels#", "mean |a|#", "std#", "most\nsimilar#",
        "used most by", "evenness\nof use#",
    )  # fmt: skip
    for expert in health.experts:
        table.add_row(
            escape(short(expert.name)), _share(expert.zeros), _share(expert.near_zeros),
            _share(expert.dead_channels), _number(expert.mean_abs), _number(expert.std),
            _number(expert.similarity), escape(_most_used(expert)),
            _number(expert.evenness) if len(expert.uses) > 1 else "–",
        )  # fmt: skip
    return table


def _most_used(expert: Expert) -> str:
    most = expert.most_used
    return f"{short(most.gate)} {most.share:.0%}" if most else "–"


def _tasks(health: Health) -> Table:
    table = plain_table(
        "task", "positives#", "trained\non#", "loss#", "AUC#", "own weight\n/ fair#",
        "own contri-\nbution / fair#", "gradient\nown / shared#",
    )  # fmt: skip
    for task in health.tasks:
        table.add_row(
            escape(task.name),
            f"{task.positives:,}" if task.kind == "binary" else "–",
            "–" if math.isnan(task.trained_positives) else f"{task.trained_positives:,.0f}",
            f"{task.loss:.4f}", _number(task.auc), _number(own_weight(health, task.name)),
            _number(own_contribution(health, task.name)),
            _number(_ratio(task.gradients.own, task.gradients.shared)),
        )  # fmt: skip
    return table


def _ratio(one: float, other: float) -> float:
    return one / other if other else math.nan


def _gates(losses: Losses) -> Table:
    table = plain_table(
        "gate", "experts#", "perplexity#", "of its\nmean#", "std over\nrows#", "std over\ngates#",
        "scale\nratio#", "held constant",
    )  # fmt: skip
    for gate in losses.health.gates:
        if len(gate.experts) > 1:
            table.add_row(
                escape(short(gate.name)), str(len(gate.experts)), _number(gate.perplexity),
                _number(gate.mean_perplexity), _number(math.sqrt(gate.variance_rows)),
                _number(math.sqrt(gate.variance_gates)), _number(gate.scale_ratio),
                escape(_largest(losses, "constant_gate", gate.name)),
            )  # fmt: skip
    return table


def _feature_gates(losses: Losses) -> Table:
    table = plain_table(
        "feature gate", "range#", "mean#", "std over\nrows#", "saturated#",
        "effects of\nLoRAs#", "held constant",
    )  # fmt: skip
    for gate in losses.health.feature_gates:
        table.add_row(
            escape(short(gate.name)), f"{gate.low:.2f} to {gate.high:.2f}", _number(gate.mean),
            _number(gate.std), _share(gate.saturated),
            ", ".join(_number(lora.effect * lora.weight) for lora in gate.loras),
            escape(_largest(losses, "constant_feature_gate", gate.name)),
        )  # fmt: skip
    return table


def _self_gates(health: Health) -> Table:
    table = plain_table("self gate", "mean weights#", "std over rows#")
    for gate in health.self_gates:
        numbers = (", ".join(map(_number, each)) for each in (gate.mean, gate.std))
        table.add_row(escape(short(gate.name)), *numbers)
    return table


def _largest(losses: Losses, kind: Kind, target: str) -> str:
    """The largest change of a judged task's loss, in brackets where its interval holds 0."""
    most = losses.most(kind, target)
    if most is None:
        return "–"
    text = f"{most.change:+.2%} {most.task}"
    return text if most.sure else f"({text})"


MATRIX_LEGEND = (
    "Change of each task's loss, in % of it, when no gate may use the expert. In brackets: its 95 %"
    "\ninterval holds 0. ?: too few positives to judge. Empty: the expert cannot reach the task."
)


def _matrix(losses: Losses) -> Table:
    table = plain_table("without", *(f"{escape(name)}#" for name in losses.tasks))
    for expert in losses.experts:
        effects = losses.effects("without_expert", expert)
        cells = (_cell(losses, effects.get(name)) for name in losses.tasks)
        table.add_row(escape(short(expert)), *cells)
    return table


def _cell(losses: Losses, effect: Effect | None) -> str:
    if effect is None:
        return ""
    if not losses.judged(effect):
        return "?"
    text = f"{100 * losses.relative(effect).change:+.2f}"
    return text if effect.sure else f"({text})"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
