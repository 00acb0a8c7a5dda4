"""Training: the result of a run as a table."""

from __future__ import annotations

import math
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from homespec.train.run import LOSSES_FILE, METRICS_FILE, WEIGHTS_FILE, Result, TaskResult

LOSSES_NOTE = "Losses are means over the first and the last tenth of the steps."
BEST_NOTE = (
    "Best AUC is what the true probabilities expect; where positives are few, chance can beat it."
)


def show(result: Result, out: Path) -> None:
    """Print the result; `out` is where its files are."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(table(result))
    if _of(result, "regression"):
        console.print(regressions(result))
    notes = [LOSSES_NOTE, BEST_NOTE] if _knows_best(result) else [LOSSES_NOTE]
    console.print("\n".join([*notes, *summary(result, out)]), markup=False)


def table(result: Result) -> Table:
    """A line per task; the last two columns only where the best AUC is known."""
    made = Table(box=box.SIMPLE_HEAD)
    columns = ["rate", "first loss", "last loss", "AUC"]
    if _knows_best(result):
        columns += ["best AUC", "gap"]
    made.add_column(result.spec, no_wrap=True)
    for name in columns:
        made.add_column(name, justify="right", no_wrap=True)
    for name, task in _of(result, "binary").items():
        numbers = [task.loss_first, task.loss_last, task.auc]
        if _knows_best(result):
            numbers += [task.bayes_auc, task.bayes_auc - task.auc]
        rate = "–" if math.isnan(task.rate) else f"{task.rate:.2%}"
        made.add_row(name, rate, *map(_number, numbers))
    return made


def regressions(result: Result) -> Table:
    """A line per regression; label, MAE and RMSE are in the units of the data."""
    made = Table(box=box.SIMPLE_HEAD)
    made.add_column("regression", no_wrap=True)
    for name in ("mean label", "first loss", "last loss", "MAE", "RMSE"):
        made.add_column(name, justify="right", no_wrap=True)
    for name, task in _of(result, "regression").items():
        errors = (f"{value:,.5g}" for value in (task.mae, task.rmse))
        losses = map(_number, (task.loss_first, task.loss_last))
        made.add_row(name, f"{task.rate:,.5g}", *losses, *errors)
    return made


def _of(result: Result, kind: str) -> dict[str, TaskResult]:
    return {name: task for name, task in result.tasks.items() if task.kind == kind}


def summary(result: Result, out: Path) -> list[str]:
    """Lines on speed, size and where the files are."""
    speed = f"{result.rows_per_second:,.0f} rows/s after the first step, "
    files = ", ".join((WEIGHTS_FILE, METRICS_FILE, LOSSES_FILE))
    return [
        f"{result.parameters:,} parameters; {'' if math.isnan(result.rows_per_second) else speed}"
        f"{result.seconds:.0f} s in all",
        f"{files} are in {out}",
    ]


def _knows_best(result: Result) -> bool:
    return any(not math.isnan(task.bayes_auc) for task in result.tasks.values())


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
