"""Training: tables of metrics for the terminal, and how their numbers are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

TITLES = {
    "loss_last": "train loss", "auc": "AUC", "gauc": "GAUC", "bayes_auc": "best AUC",
    "logloss": "logloss", "pcoc": "PCOC", "mae": "MAE", "rmse": "RMSE",
}  # fmt: skip
"""How tables call a metric."""

WIDEST = 500
"""Columns of a terminal that rich is to believe in: it cuts what is wider."""


def empty_table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    """A table without rows: columns of text, then columns of numbers."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True)
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def show_tables(tables: Iterable[Table]) -> None:
    """Print tables at their own width: a number cut short is worse than a line too long."""
    console = Console(highlight=False, soft_wrap=True, width=WIDEST)
    for table in tables:
        console.print(table)


def number(value: float, digits: int = 4) -> str:
    """A metric; what is undefined is a dash."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def percent(value: float) -> str:
    """A share."""
    return "–" if math.isnan(value) else f"{value:.2%}"


def in_units(value: float) -> str:
    """A number in the units of the data, of any size."""
    return "–" if math.isnan(value) else f"{value:,.5g}"
