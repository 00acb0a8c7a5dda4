"""Command line: the summary of a model as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich import box
from rich.console import Console, JustifyMethod, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from homespec.analysis.costs import Cost
from homespec.analysis.summary import FeatureRow, LayerSummary, Summary, TowerRow
from homespec.header import counted

WIDTH = 120
"""Width of the tables without a terminal."""

NARROWEST = 100
"""In narrower terminals, long lines overflow instead of being wrapped into an unreadable table."""


def tables(summary: Summary, color: bool, width: int) -> str:
    """The tables as text, up to `width` characters wide."""
    parts = [*_head(summary)]
    for table in _tables(summary):
        parts += ["", table]
    return as_text(parts, color, max(width, NARROWEST))


def as_text(parts: Iterable[RenderableType], color: bool, width: int = WIDTH) -> str:
    """The output of rich, without blanks at the ends of lines."""
    console = Console(
        width=width,
        highlight=False,
        emoji=False,
        force_terminal=color,
        color_system="standard" if color else None,
    )
    with console.capture() as capture:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, Text))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _tables(summary: Summary) -> Iterator[Table]:
    yield _features(summary)
    for layer in summary.layers:
        yield _sets(layer)
        yield _states(layer)
    yield _towers(summary)
    if summary.products:
        yield _products(summary)
    yield _totals(summary)


def _head(summary: Summary) -> Iterator[RenderableType]:
    sets = [row for layer in summary.layers for row in layer.sets]
    counts = [
        counted(len(summary.towers) + len(summary.products), "task"),
        counted(len(summary.layers), "layer"),
        counted(sum(row.count for row in sets), "expert"),
        f"{summary.total.parameters:,} parameters",
        f"{summary.total.flops:,} FLOPs a sample",
    ]
    yield f"[bold]{summary.name}[/] ({summary.family}): {', '.join(counts)}"
    if summary.description:
        yield escape(summary.description.strip())
    yield ""
    yield _tree(summary)


def _tree(summary: Summary) -> Tree:
    tree = Tree("shared")
    _grow(tree, summary.tree)
    return tree


def _grow(tree: Tree, members: dict[str, dict[str, object]]) -> None:
    """Groups become branches that name their tasks."""
    for name, below in members.items():
        if below is not None:
            tasks = ", ".join(member for member, deeper in below.items() if deeper is None)
            _grow(tree.add(f"{name}: {tasks}" if tasks else name), below)  # type: ignore[arg-type]


def _table(title: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> Table:
    """A table with the costs as its last columns. Columns whose names end in # hold numbers."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for column in (*columns.split(", "), "parameters#", "FLOPs#"):
        title, side = _titled(column)
        table.add_column(title, justify=side, no_wrap=side == "right", overflow="fold")
    for *cells, cost in rows:
        table.add_row(*map(_cell, cells), f"{cost.parameters:,}", f"{cost.flops:,}")
    return table


def plain_table(*columns: str) -> Table:
    """A table without a title. Columns whose names end in # hold numbers."""
    table = Table(box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        title, side = _titled(column)
        table.add_column(title, justify=side, no_wrap=number == 0, overflow="fold")
    return table


def _titled(column: str) -> tuple[str, JustifyMethod]:
    """The title of a column, and the alignment of its cells."""
    return column.rstrip("#"), "right" if column.endswith("#") else "left"


def _cell(value: object) -> str:
    """The text of a cell; a dash for a missing value."""
    if isinstance(value, float):
        return f"{value:g}"
    return "–" if value in (None, "") else str(value)


def _features(summary: Summary) -> Table:
    rows = ((_feature(f), f.kind, f.rows or None, f.width, f.cost) for f in summary.features)
    return _table(f"Features: v is {summary.width} wide", "feature, kind, rows#, width#", rows)


def _feature(row: FeatureRow) -> str:
    return row.name if row.column == row.name else f"{row.name} ({escape(row.column)})"


def _sets(layer: LayerSummary) -> Table:
    rows = (
        (
            row.node,
            row.count,
            _arrow(row.widths),
            f"{row.norm}, {row.activation}{_dropout(row.dropout)}",
            row.reads,
            row.feature_gate and f"{row.feature_gate.loras}×{row.feature_gate.rank}",
            _logits(row.self_gate or ()),
            row.cost,
        )
        for row in layer.sets
    )
    columns = "set, experts#, widths, output, reads, LoRAs×rank, self gate"
    return _table(f"Layer {layer.name}: expert sets", columns, rows)


def _states(layer: LayerSummary) -> Table:
    rows = (
        (
            row.node,
            row.width,
            ", ".join(f"{count}×{node}" for node, count in row.mixes.items()),
            ", ".join(row.gate_reads),
            _logits(row.gate),
            ", ".join(row.self_gates),
            row.cost,
        )
        for row in layer.states
    )
    columns = "state, width#, gate over, reads, gate, self gate of"
    return _table(f"Layer {layer.name}: states", columns, rows)


def _towers(summary: Summary) -> Table:
    rows = (
        (
            row.task,
            escape(_label(row)),
            row.weight,
            row.rate,
            _arrow(row.widths),
            _hidden(row),
            row.cost,
        )
        for row in summary.towers
    )
    return _table("Towers", "task, label, weight#, rate#, widths, activation", rows)


def _hidden(row: TowerRow) -> str:
    """The norm, activation and dropout of a tower's hidden layers."""
    if len(row.widths) == 2:
        return ""
    norm = "" if row.norm == "none" else f"{row.norm}, "
    return f"{norm}{row.activation}{_dropout(row.dropout)}"


def _dropout(share: float) -> str:
    return f", dropout {share:g}" if share else ""


def _label(row: TowerRow) -> str:
    """The label of a task, and the rows in which it counts."""
    label = f"{row.label} (a number)" if row.kind == "regression" else row.label
    return f"{label} where {row.where}" if row.where else label


def _products(summary: Summary) -> Table:
    rows = (
        (row.task, escape(row.label), row.weight, " × ".join(row.factors), Cost(0, 0))
        for row in summary.products
    )
    return _table("Products", "task, label, weight#, factors", rows)


def _totals(summary: Summary) -> Table:
    table = _table("Total", "part", summary.parts.items())
    table.add_section()
    cost = summary.total
    table.add_row("all", f"{cost.parameters:,}", f"{cost.flops:,}", style="bold")
    return table


def _arrow(widths: tuple[int, ...]) -> str:
    return "→".join(map(str, widths))


def _logits(widths: tuple[int, ...]) -> str:
    """The widths of a gate; one that reads nothing has parameters alone."""
    return f"{widths[-1]} static" if widths and not widths[0] else _arrow(widths)
