"""Training: tables of metrics for the terminal, and the formats of their numbers."""

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
"""The names of metrics in tables."""

WIDEST = 500
"""Width of the terminal that rich assumes; it would cut wider lines."""


def empty_table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    """A table without rows: columns of text, then columns of numbers."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True)
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def show_tables(tables: Iterable[Table]) -> None:
    """Print tables at their own width, because a long line is better than a cut number."""
    console = Console(highlight=False, soft_wrap=True, width=WIDEST)
    for table in tables:
        console.print(table)


def number(value: float, digits: int = 4) -> str:
    """A metric; a dash if it is undefined."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def percent(value: float) -> str:
    """A share."""
    return "–" if math.isnan(value) else f"{value:.2%}"


def in_units(value: float) -> str:
    """A number in the units of the data, of any size."""
    return "–" if math.isnan(value) else f"{value:,.5g}"
