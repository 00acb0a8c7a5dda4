"""Training: the result of a run as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from homespec.train.checkpoint import WEIGHTS_FILE
from homespec.train.losses import FILE as LOSSES_FILE
from homespec.train.result import Result, TaskResult
from homespec.train.run_files import METRICS_FILE
from homespec.train.tables import TITLES, empty_table, in_units, number, percent, show_tables

LOSSES_NOTE = (
    "Train loss is the mean over the last tenth of the steps; all else is of held-out rows."
)
BEST_NOTE = (
    "Best AUC is what the true probabilities expect; where positives are few, chance can beat it."
)
Column = tuple[str, Callable[[TaskResult], str]]


def show(result: Result, out: Path) -> None:
    """Print the result; `out` is where its files are."""
    console = Console(highlight=False, soft_wrap=True)
    made = [table(result)] if _of(result, "binary") else []
    made += [regressions(result)] if _of(result, "regression") else []
    show_tables(made)
    notes = [LOSSES_NOTE, BEST_NOTE] if _knows(result, "bayes_auc") else [LOSSES_NOTE]
    console.print("\n".join([*notes, *summary(result, out)]), markup=False)


def table(result: Result) -> Table:
    """A line per binary task; GAUC and the best AUC only where they are known."""
    columns: list[Column] = [
        ("rate", lambda t: percent(t.rate)),
        *map(_plain, ("loss_last", "auc")),
    ]
    if _knows(result, "gauc"):
        columns.append(_plain("gauc"))
    if _knows(result, "bayes_auc"):
        columns.append(_plain("bayes_auc"))
    columns += [_plain("logloss"), ("PCOC", lambda t: number(t.pcoc, 3))]
    return _made(result.spec, columns, _of(result, "binary"))


def regressions(result: Result) -> Table:
    """A line per regression; label, MAE and RMSE are in the units of the data."""
    columns: list[Column] = [
        ("mean label", lambda t: in_units(t.rate)),
        _plain("loss_last"),
        ("MAE", lambda t: in_units(t.mae)),
        ("RMSE", lambda t: in_units(t.rmse)),
        ("PCOC", lambda t: number(t.pcoc, 3)),
    ]
    return _made("regression", columns, _of(result, "regression"))


def _plain(name: str) -> Column:
    return TITLES[name], lambda task: number(getattr(task, name))


def _made(title: str, columns: Sequence[Column], tasks: dict[str, TaskResult]) -> Table:
    made = empty_table((title,), [name for name, _ in columns])
    for name, task in tasks.items():
        made.add_row(name, *(text(task) for _, text in columns))
    return made


def _of(result: Result, kind: str) -> dict[str, TaskResult]:
    return {name: task for name, task in result.tasks.items() if task.kind == kind}


def summary(result: Result, out: Path) -> list[str]:
    """Lines on the best epoch, speed, size and where the files are."""
    speed = f"{result.rows_per_second:,.0f} rows/s after the first step, "
    files = ", ".join((WEIGHTS_FILE, METRICS_FILE, LOSSES_FILE))
    return [
        *_unlabelled(result),
        *_epochs(result),
        f"{result.parameters:,} parameters; {'' if math.isnan(result.rows_per_second) else speed}"
        f"{result.seconds:.0f} s in all",
        f"{files} are in {out}",
    ]


def _unlabelled(result: Result) -> list[str]:
    """The tasks that no step learned from."""
    names = [name for name, task in result.tasks.items() if not task.labelled]
    steps = result.history.epochs[-1]["step"]
    return [f"{', '.join(names)}: no row of the {steps:,} steps had a label."] if names else []


def _epochs(result: Result) -> list[str]:
    """Which epoch the metrics and weights are of, if there were several."""
    history, epochs = result.history, len(result.history.epochs)
    if math.isnan(history.value):
        return [_undefined(result)]
    if epochs == 1:
        return []
    stopped = (
        f"; stopped, since {history.waited} did no better"
        if history.over(result.settings.patience)
        else ""
    )
    reached = number(history.value)
    return [
        f"Epoch {history.best} of {epochs} is the best by {result.monitor} ({reached}){stopped}:"
        f" {WEIGHTS_FILE} and the metrics are its own."
    ]


def _undefined(result: Result) -> str:
    """What is to be said where no epoch has a value to compare it by."""
    epochs = len(result.history.epochs)
    metric, _, task = result.monitor.partition("/")
    if metric == "gauc":
        why = "no user has rows of both classes"
    elif metric == "auc":
        why = f"{f'`{task}`' if task else 'each task'} has rows of one class only"
    else:
        why = "no row has a label"
    ignored = "; --patience had nothing to go by" if result.settings.patience else ""
    return (
        f"No epoch is the best: {result.monitor} is undefined on the held-out rows, where {why}."
        f" {WEIGHTS_FILE} and the metrics are of the last epoch, {epochs} of {epochs}{ignored}."
    )


def _knows(result: Result, metric: str) -> bool:
    return any(not math.isnan(getattr(task, metric)) for task in result.tasks.values())
