"""Health: the numbers of a run as tables of text, the same in the terminal and in the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from homespec.health.compare import MEASURES, OF_TASK, own_contribution, own_weight
from homespec.health.losses import Losses
from homespec.health.measures import Effect, Expert, Gate, Health, Kind, Task, short


@dataclass(frozen=True)
class Table:
    """Text in rows and columns. A column whose heading ends in # holds numbers."""

    head: tuple[str, ...]
    """A line break marks where a narrow column may break its heading."""
    rows: tuple[tuple[str, ...], ...]


def tables(health: Health) -> Iterator[Table]:
    """All tables of a run, except those of the losses without experts."""
    losses = Losses(health)
    yield _experts(health.experts)
    yield _start(health.tasks) if health.at_start else _tasks(health)
    yield _gates(losses)
    if health.feature_gates:
        yield _feature_gates(losses)
    if health.self_gates:
        yield _self_gates(health)


def number(value: float | None) -> str:
    """At least two digits; a dash for a number that could not be measured."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) >= 0.01 or not value else f"{value:.2g}"


def share(value: float) -> str:
    """As a percentage."""
    return "–" if math.isnan(value) else f"{value:.1%}"


def metric(value: float, digits: int) -> str:
    """A loss or an AUC; a dash if the task has no labels, or lacks one of the classes."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def effect_text(part: Effect, digits: int = 2) -> str:
    """A change in %, in brackets if its interval contains 0."""
    text = f"{100 * part.change:+.{digits}f}"
    if not float(text):
        text = text[1:]
    return text if part.sure else f"({text})"


# ---------------------------------------------------------------- one for each kind of part


def _experts(experts: Iterable[Expert]) -> Table:
    head = (
        "expert", "zeros#", "near 0#", "dead\nchannels#", "mean |a|#", "std#", "most\nsimilar#",
        "used most by", "evenness\nof use#",
    )  # fmt: skip
    return Table(head, tuple(map(_expert, experts)))


def _expert(expert: Expert) -> tuple[str, ...]:
    most = expert.most_used
    return (
        short(expert.name), share(expert.zeros), share(expert.near_zeros),
        share(expert.dead_channels), number(expert.mean_abs), number(expert.std),
        number(expert.similarity), f"{short(most.gate)} {most.share:.0%}" if most else "–",
        number(expert.evenness) if most else "–",
    )  # fmt: skip


def _tasks(health: Health) -> Table:
    head = (
        "task", "positives#", "trained\non#", "loss#", "AUC#", "own weight\n/ fair#",
        "own contri-\nbution / fair#", "gradient:\nown#", "group#", "shared#",
    )  # fmt: skip
    return Table(head, tuple(_task(health, task) for task in health.tasks))


def _start(tasks: Iterable[Task]) -> Table:
    """The table of tasks before training."""
    rows = (
        (
            task.name, f"{task.positives:,}" if task.kind == "binary" else "–",
            metric(task.loss, 4), number(task.spread),
        )
        for task in tasks
    )  # fmt: skip
    return Table(("task", "positives#", "loss#", "std of\nlogits#"), tuple(rows))


def _task(health: Health, task: Task) -> tuple[str, ...]:
    trained = task.trained_positives
    return (
        task.name, f"{task.positives:,}" if task.kind == "binary" else "–",
        "–" if math.isnan(trained) else f"{trained:,.0f}", metric(task.loss, 4), number(task.auc),
        number(own_weight(health, task.name)), number(own_contribution(health, task.name)),
        *map(number, (task.gradients.own, task.gradients.group, task.gradients.shared)),
    )  # fmt: skip


def _gates(losses: Losses) -> Table:
    head = (
        "gate", "experts#", "perplexity#", "of its\nmean#", "std over\nrows#", "std over\ngates#",
        "scale\nratio#", "held constant",
    )  # fmt: skip
    gates = (gate for gate in losses.health.gates if len(gate.experts) > 1)
    return Table(head, tuple(_gate(losses, gate) for gate in gates))


def _gate(losses: Losses, gate: Gate) -> tuple[str, ...]:
    return (
        short(gate.name), str(len(gate.experts)), number(gate.perplexity),
        number(gate.mean_perplexity), number(math.sqrt(gate.variance_rows)),
        number(math.sqrt(gate.variance_gates)), number(gate.scale_ratio),
        _largest(losses, "constant_gate", gate.name),
    )  # fmt: skip


def _feature_gates(losses: Losses) -> Table:
    head = (
        "feature gate", "range#", "mean#", "std over\nrows#", "saturated#", "effects of\nLoRAs#",
        "held constant",
    )  # fmt: skip
    rows = (
        (
            short(gate.name), f"{gate.low:.2f} to {gate.high:.2f}", number(gate.mean),
            number(gate.std), share(gate.saturated),
            ", ".join(number(lora.effect * lora.weight) for lora in gate.loras),
            _largest(losses, "constant_feature_gate", gate.name),
        )
        for gate in losses.health.feature_gates
    )  # fmt: skip
    return Table(head, tuple(rows))


def _self_gates(health: Health) -> Table:
    rows = (
        (short(gate.name), *(", ".join(map(number, each)) for each in (gate.mean, gate.std)))
        for gate in health.self_gates
    )
    return Table(("self gate", "mean weights#", "std over rows#"), tuple(rows))


def _largest(losses: Losses, kind: Kind, target: str) -> str:
    """The largest change of a judged task's loss."""
    most = losses.most(kind, target)
    return f"{effect_text(most)} % {most.task}" if most else "–"


# ---------------------------------------------------------------- two runs


def run_names(runs: Sequence[Health]) -> tuple[str, ...]:
    """The names of the runs' folders, or these paths if the names are equal."""
    names = tuple(Path(run.run).name for run in runs)
    return names if len(set(names)) == len(names) else tuple(run.run for run in runs)


def tasks_compared(runs: Sequence[Health], changes: Iterable[Effect]) -> Table:
    """The measures of the tasks of two runs, and the loss of the first minus that of the second."""
    by_task = {change.task: change for change in changes}
    measures = [f"{what},\n{name}#" for what in OF_TASK for name in run_names(runs)]
    names = dict.fromkeys(task.name for run in runs for task in run.tasks)
    rows = ((name, *_change(by_task.get(name)), *_of_task(name, runs)) for name in names)
    return Table(("task", "change of\nthe loss#", "95 % interval", "", *measures), tuple(rows))


def _change(part: Effect | None) -> tuple[str, ...]:
    if part is None or not math.isfinite(part.change):
        return "–", "–", ""
    numbers = (part.change, part.low, part.high)
    change, low, high = (f"{each:+.2g}" if each else "0" for each in numbers)
    return change, f"{low} to {high}", verdict(part)


def _of_task(name: str, runs: Sequence[Health]) -> Iterator[str]:
    for measure in OF_TASK.values():
        for run in runs:
            task = next((task for task in run.tasks if task.name == name), None)
            yield number(measure(run, task) if task else None)


def models_compared(runs: Sequence[Health]) -> Table:
    """The measures of two whole models."""
    rows = ((what, *(number(measure(run)) for run in runs)) for what, measure in MEASURES.items())
    return Table(("measure", *(f"{name}#" for name in run_names(runs))), tuple(rows))


def verdict(change: Effect) -> str:
    """The interval of a loss's change in words."""
    if change.low == change.high == 0:
        return "same"
    if not change.sure:
        return "open"
    return "worse" if change.low > 0 else "better"


def experts_compared(runs: Sequence[Health]) -> Table:
    """The experts that both runs have, with this run's number before the other's."""
    one, other = map(Losses, runs)
    names = [name for name in one.experts if name in other.experts]
    rows = []
    for name in names:
        numbers: list[str] = []
        for losses in (one, other):
            expert, most = losses.experts[name], losses.most("without_expert", name)
            need = f"{effect_text(most)} % {most.task}" if most else "–"
            numbers += [need, share(expert.zeros), number(expert.mean_abs)]
        rows.append((short(name), *(numbers[i] for pair in ((0, 3), (1, 4), (2, 5)) for i in pair)))
    head = [
        f"{what},\n{name}#"
        for what in ("most lost without it", "zeros", "mean |a|")
        for name in run_names(runs)
    ]
    return Table(("expert", *head), tuple(rows))
