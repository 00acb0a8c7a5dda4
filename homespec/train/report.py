"""Training: the result of a run as a table."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from homespec.health import epoch
from homespec.train.checkpoint import WEIGHTS_FILE
from homespec.train.checkpoint_checks import Json
from homespec.train.losses import FILE as LOSSES_FILE
from homespec.train.metrics import is_better
from homespec.train.result import Result, TaskResult, or_nan
from homespec.train.run_files import METRICS_FILE
from homespec.train.tables import TITLES, empty_table, in_units, number, percent, show_tables

LOSSES_NOTE = (
    "Train loss is the mean over the last tenth of the steps; all other numbers are for held-out "
    "rows."
)
BEST_NOTE = (
    "Best AUC is the expected AUC of the true probabilities; with few positives, chance can beat "
    "it."
)
EPOCH_0_NOTE = "Epoch 0 is the model before the first step, on the same held-out rows."


SIGNS = 2
"""Maximum number of signs about experts that are shown; the others are in metrics.json."""


class Column(NamedTuple):
    """A column of a table, for the best epoch or epoch 0."""

    title: str
    text: Callable[[TaskResult], str]
    of_start: bool = False


def show(result: Result, out: Path, held_out: Sequence[Path]) -> None:
    """Print the result; `out` is the folder of its files, `held_out` describes the rows."""
    console = Console(highlight=False, soft_wrap=True)
    made = [table(result)] if _of(result, "binary") else []
    made += [regressions(result)] if _of(result, "regression") else []
    show_tables(made)
    notes = [LOSSES_NOTE, BEST_NOTE] if _knows(result, "bayes_auc") else [LOSSES_NOTE]
    notes += [EPOCH_0_NOTE] if result.history.start else []
    lines = [*notes, *summary(result, out), *of_experts(result, out, held_out)]
    console.print("\n".join(lines), markup=False)


def table(result: Result) -> Table:
    """A line for each binary task; GAUC, the best AUC and epoch 0 are shown if they are known."""
    pcoc = Column("PCOC", lambda t: number(t.pcoc, 3))
    columns = [Column("rate", lambda t: percent(t.rate))]
    if result.history.start:
        columns += [_of_start(_plain("auc")), _of_start(pcoc)]
    columns += map(_plain, ("loss_last", "auc"))
    if _knows(result, "gauc"):
        columns.append(_plain("gauc"))
    if _knows(result, "bayes_auc"):
        columns.append(_plain("bayes_auc"))
    columns += [_plain("logloss"), pcoc]
    return _made(result.spec, columns, result, "binary")


def regressions(result: Result) -> Table:
    """A line for each regression; label, MAE and RMSE are in the units of the data."""
    mae = Column("MAE", lambda t: in_units(t.mae))
    columns = [Column("mean label", lambda t: in_units(t.rate))]
    columns += [_of_start(mae)] if result.history.start else []
    columns += [
        _plain("loss_last"),
        mae,
        Column("RMSE", lambda t: in_units(t.rmse)),
        Column("PCOC", lambda t: number(t.pcoc, 3)),
    ]
    return _made("regression", columns, result, "regression")


def _plain(name: str) -> Column:
    return Column(TITLES[name], lambda task: number(getattr(task, name)))


def _of_start(column: Column) -> Column:
    return Column(f"epoch 0 {column.title}", column.text, of_start=True)


def _made(title: str, columns: Sequence[Column], result: Result, kind: str) -> Table:
    made = empty_table((title,), [column.title for column in columns])
    for name, task in _of(result, kind).items():
        start = at_start(task, result.history.start, name)
        made.add_row(name, *(each.text(start if each.of_start else task) for each in columns))
    return made


def _of(result: Result, kind: str) -> dict[str, TaskResult]:
    return {name: task for name, task in result.tasks.items() if task.kind == kind}


def at_start(task: TaskResult, start: Json | None, name: str) -> TaskResult:
    """The same task with the metrics of epoch 0, if that was measured."""
    measured = start["tasks"][name] if start else {}
    known: Json = {metric: or_nan(value) for metric, value in measured.items()}
    return dataclasses.replace(task, **known)


def summary(result: Result, out: Path) -> list[str]:
    """Lines on the best epoch, the speed, the size and the path of the files."""
    speed = f"{result.rows_per_second:,.0f} rows/s after the first step, "
    files = ", ".join((WEIGHTS_FILE, METRICS_FILE, LOSSES_FILE))
    return [
        *_unlabelled(result),
        *_epochs(result),
        f"{result.parameters:,} parameters; {'' if math.isnan(result.rows_per_second) else speed}"
        f"{result.seconds:.0f} s in all",
        f"{files} are in {out}",
    ]


def of_experts(result: Result, out: Path, held_out: Sequence[Path]) -> Iterator[str]:
    """Lines on experts and gates after the best epoch: numbers on request, and signs."""
    health = result.history.epochs[result.history.best - 1].get("health")
    if health is None:
        return
    if "error" in health:
        yield f"Experts and gates were not measured: {health['error']}"
        return
    if "experts" in health:
        yield epoch.summary(health, health["rows"])
    if signs := health["signs"][:SIGNS]:
        yield from signs
        data = [word for path in held_out for word in ("--data", str(path))]
        command = shlex.join(["homespec", "doctor", str(out), *data])
        yield f"To measure whether a task gets worse by that: {command}"


def _unlabelled(result: Result) -> list[str]:
    """The tasks that had no label in any step."""
    names = [name for name, task in result.tasks.items() if not task.labelled]
    steps = result.history.epochs[-1]["step"]
    return [f"{', '.join(names)}: no row of the {steps:,} steps had a label."] if names else []


def _epochs(result: Result) -> list[str]:
    """The epoch of the metrics and weights, if there were several."""
    history, epochs = result.history, len(result.history.epochs)
    if math.isnan(history.value):
        return [_undefined(result)]
    if epochs == 1:
        return [*_not_better(result)]
    stopped = (
        f"; stopped, because {history.waited} were not better"
        if history.over(result.settings.patience)
        else ""
    )
    reached = number(history.value)
    return [
        f"Epoch {history.best} of {epochs} is the best by {result.monitor} ({reached}){stopped}:"
        f" {WEIGHTS_FILE} and the metrics are from this epoch.",
        *_not_better(result),
    ]


def _not_better(result: Result) -> list[str]:
    """A line if no epoch is better than the weights that the run started from."""
    start = result.history.start
    before, after = or_nan(start["monitor"] if start else None), result.history.value
    if math.isnan(before) or is_better(result.monitor.partition("/")[0], after, before):
        return []
    return [
        f"No epoch is better by {result.monitor} than epoch 0 ({number(before)}), the weights"
        " that the run started from."
    ]


def _undefined(result: Result) -> str:
    """The line if no epoch has a value to compare."""
    epochs = len(result.history.epochs)
    metric, _, task = result.monitor.partition("/")
    asked = [result.tasks[task]] if task else result.tasks.values()
    if all(math.isnan(each.rate) for each in asked):
        why = "no row has a label"
    elif metric == "gauc":
        why = "no user has rows of both classes"
    elif metric == "auc":
        why = f"{f'`{task}`' if task else 'each task'} has rows of one class only"
    else:
        why = "no row has a label"
    ignored = "; --patience had no effect" if result.settings.patience else ""
    return (
        f"No epoch is the best: {result.monitor} is undefined on the held-out rows, where {why}. "
        f"{WEIGHTS_FILE} and the metrics are from the last epoch, {epochs} of {epochs}{ignored}."
    )


def _knows(result: Result, metric: str) -> bool:
    return any(not math.isnan(getattr(task, metric)) for task in result.tasks.values())
