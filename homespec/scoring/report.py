"""Scoring: metrics of a model on rows, as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from homespec.scoring.evaluate import Evaluation, Slice, TaskMetrics
from homespec.scoring.intervals import NONE
from homespec.train.tables import TITLES, empty_table, in_units, number, percent, show_tables

NOTE = "In brackets: 95 % confidence intervals, as if {} were drawn independently."
KINDS = {"binary": ("auc", "gauc", "logloss", "pcoc"), "regression": ("mae", "rmse", "pcoc")}
"""The metrics of each kind of task, in the order of the columns."""
BRACKETED = ("auc", "gauc", "mae", "rmse")
"""The metrics shown with intervals; the JSON has all intervals."""

Line = tuple[tuple[str, ...], TaskMetrics]
"""The label of a line, and its metrics."""


def show(found: Evaluation) -> None:
    """Print the metrics of all rows, then those of slices."""
    console = Console(highlight=False, soft_wrap=True)
    show_tables(tables(found))
    drawn = "users" if _has_users(found) else "rows"
    console.print("\n".join([NOTE.format(drawn), about(found)]), markup=False)


def tables(found: Evaluation) -> Iterator[Table]:
    """A table for each kind of task, then the same for each column of slices."""
    whole: list[Line] = [((escape(name),), task) for name, task in found.tasks.items()]
    yield from _by_kind((found.spec,), whole)
    for column, slices in found.slices.items():
        yield from _by_kind((found.spec, escape(column)), list(_of_slices(found, slices)))


def _of_slices(found: Evaluation, slices: Iterable[Slice]) -> Iterator[Line]:
    """The lines of all values by task, so that values to compare are below each other."""
    for task in found.tasks:
        name = escape(task)
        for each in slices:
            yield (name, escape(_text(each))), each.tasks[task]
            name = ""


def _text(part: Slice) -> str:
    return "missing" if part.value is None else str(part.value)


def _by_kind(heads: tuple[str, ...], lines: list[Line]) -> Iterator[Table]:
    for kind in KINDS:
        own = [line for line in lines if line[1].kind == kind]
        if own:
            title = heads[0] if kind == "binary" else "regression"
            yield _table((title, *heads[1:]), kind, own)


def _table(heads: tuple[str, ...], kind: str, lines: list[Line]) -> Table:
    binary = kind == "binary"
    shown = [m for m in KINDS[kind] if m != "gauc" or any("gauc" in t.intervals for _, t in lines)]
    counts = ["rows", "positives", "rate"] if binary else ["rows", "mean label"]
    table = empty_table(heads, [*counts, *(TITLES[metric] for metric in shown)])
    for begin, task in lines:
        count = [f"{task.positives:,}", percent(task.rate)] if binary else [in_units(task.rate)]
        cells = (_cell(task, metric) for metric in shown)
        table.add_row(*begin, f"{task.rows:,}", *count, *cells)
    return table


def _cell(task: TaskMetrics, metric: str) -> str:
    r"""A metric and its interval; \[ keeps rich from reading markup."""
    value: float = getattr(task, metric)
    written = _written(metric)
    low, high = task.intervals.get(metric, NONE)
    bare = math.isnan(low) or metric not in BRACKETED
    reach = "" if bare else f" \\[{written(low)}, {written(high)}]"
    return written(value) + reach


def _written(metric: str) -> Callable[[float], str]:
    if metric in ("mae", "rmse"):
        return in_units
    return (lambda value: number(value, 3)) if metric == "pcoc" else number


def _has_users(found: Evaluation) -> bool:
    return any("gauc" in task.intervals for task in found.tasks.values())


def about(found: Evaluation) -> str:
    """A line about the weights, the rows and the files that were measured."""
    which = "best epoch" if found.checkpoint == "best" else "last checkpoint"
    step = "" if found.step is None else f", step {found.step:,},"
    files = found.data[0] + (f" and {len(found.data) - 1} more" if len(found.data) > 1 else "")
    files += ", by their sample weights" if found.weighted else ""
    return f"{found.rows:,} rows of {files}; weights of the {which}{step} in {found.run}"
