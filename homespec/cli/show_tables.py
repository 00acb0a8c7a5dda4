"""Command line: the summary of a model as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Console, JustifyMethod, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from homespec.analysis.costs import Cost
from homespec.analysis.summary import (
    FeatureRow,
    LayerSummary,
    ProductRow,
    SetRow,
    StateRow,
    Summary,
    TowerRow,
)

WIDTH = 120
"""Width of the tables where there is no terminal to fit."""

NARROWEST = 100
"""In narrower terminals long lines run on rather than being folded beyond recognition."""


def tables(summary: Summary, color: bool, width: int) -> str:
    """The tables as text, `width` characters wide where there is so much to tell."""
    console = Console(
        width=max(width, NARROWEST),
        highlight=False,
        emoji=False,
        force_terminal=color,
        color_system="standard" if color else None,
    )
    with console.capture() as capture:
        for part in _parts(summary):
            console.print(part)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _parts(summary: Summary) -> Iterator[RenderableType]:
    yield from _head(summary)
    for table in _tables(summary):
        yield ""
        yield table


def _tables(summary: Summary) -> Iterator[Table]:
    yield _features(summary)
    for layer in summary.layers:
        yield _sets(layer)
        yield _states(layer)
    yield _towers(summary.towers)
    if summary.products:
        yield _products(summary.products)
    yield _totals(summary)


def _head(summary: Summary) -> Iterator[RenderableType]:
    sets = [row for layer in summary.layers for row in layer.sets]
    counts = [
        f"{len(summary.towers) + len(summary.products)} tasks",
        f"{len(summary.layers)} layers",
        f"{sum(row.count for row in sets)} experts",
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


def _table(title: str, *columns: str) -> Table:
    """An empty table; columns whose names end in # hold numbers, all have two of cost last."""
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
    for column in (*columns, "parameters#", "FLOPs#"):
        number = column.endswith("#")
        side: JustifyMethod = "right" if number else "left"
        table.add_column(column.rstrip("#"), justify=side, no_wrap=number, overflow="fold")
    return table


def _cost(cost: Cost) -> tuple[str, str]:
    return f"{cost.parameters:,}", f"{cost.flops:,}"


def _features(summary: Summary) -> Table:
    table = _table(f"Features: v is {summary.width} wide", "feature", "kind", "rows#", "width#")
    for row in summary.features:
        table.add_row(
            _feature_name(row), row.kind, _or_dash(row.rows), str(row.width), *_cost(row.cost)
        )
    return table


def _feature_name(row: FeatureRow) -> str:
    return row.name if row.column == row.name else f"{row.name} ({escape(row.column)})"


def _sets(layer: LayerSummary) -> Table:
    table = _table(
        f"Layer {layer.name}: expert sets",
        *("set", "experts#", "widths", "output", "reads", "LoRAs×rank", "self gate"),
    )
    for row in layer.sets:
        table.add_row(
            row.node,
            str(row.count),
            _arrow(row.widths),
            f"{row.norm}, {row.activation}",
            row.reads,
            _feature_gate(row),
            _arrow(row.self_gate or ()),
            *_cost(row.cost),
        )
    return table


def _feature_gate(row: SetRow) -> str:
    gate = row.feature_gate
    return f"{gate.loras}×{gate.rank}" if gate else "–"


def _states(layer: LayerSummary) -> Table:
    table = _table(
        f"Layer {layer.name}: states",
        "state",
        "width#",
        "gate over",
        "reads",
        "gate",
        "self gate of",
    )
    for row in layer.states:
        table.add_row(
            row.node,
            str(row.width),
            _mixes(row),
            _or_dash(", ".join(row.gate_reads)),
            _arrow(row.gate),
            _or_dash(", ".join(row.self_gates)),
            *_cost(row.cost),
        )
    return table


def _mixes(row: StateRow) -> str:
    return ", ".join(f"{count}×{node}" for node, count in row.mixes.items())


def _towers(rows: Iterable[TowerRow]) -> Table:
    table = _table("Towers", "task", "label", "weight#", "rate#", "widths", "activation")
    for row in rows:
        rate = "–" if row.rate is None else f"{row.rate:g}"
        table.add_row(
            row.task,
            escape(_label(row)),
            f"{row.weight:g}",
            rate,
            _arrow(row.widths),
            row.activation if len(row.widths) > 2 else "–",
            *_cost(row.cost),
        )
    return table


def _label(row: TowerRow) -> str:
    """What a task is trained on."""
    label = f"{row.label} (a number)" if row.kind == "regression" else row.label
    return f"{label} where {row.where}" if row.where else label


def _products(rows: Iterable[ProductRow]) -> Table:
    table = _table("Products", "task", "label", "weight#", "factors")
    for row in rows:
        factors = " × ".join(row.factors)
        table.add_row(row.task, escape(row.label), f"{row.weight:g}", factors, "0", "0")
    return table


def _totals(summary: Summary) -> Table:
    table = _table("Total", "part")
    for part, cost in summary.parts.items():
        table.add_row(part, *_cost(cost))
    table.add_section()
    table.add_row("all", *_cost(summary.total), style="bold")
    return table


def _arrow(widths: tuple[int, ...]) -> str:
    return "→".join(map(str, widths)) or "–"


def _or_dash(value: object) -> str:
    return str(value) if value else "–"
