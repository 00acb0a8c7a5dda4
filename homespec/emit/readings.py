"""Stage 7, emit: the features that nodes of the task tree read, as slices of all look-ups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from homespec.emit.layout import INDENT, Expr, assign, call, sequence
from homespec.emit.naming import Naming
from homespec.emit.scope import Scope
from homespec.graph import Graph
from homespec.graph.feature_nodes import Input, Reading
from homespec.graph.inputs import (
    columns_of,
    columns_read,
    features_read,
    inputs_of,
    readings_of,
)
from homespec.graph.nodes import Batch, Placed
from homespec.schema.identifiers import ROOT


class Column(NamedTuple):
    """Features that the nodes of a batch read, which all have as many tables of one width.

    The tables of this many `features` begin at `start`, `tables` of each, one after the other. Node
    i reads the table `at[i]` of each feature. A feature with one table may be several neighbours.
    """

    start: int
    features: int
    tables: int
    width: int
    at: tuple[int, ...]


def emit_readings(graph: Graph, scope: Scope) -> list[str]:
    """A line for each batch of nodes: what they read of x [1, V, B]. Its value joins the scope."""
    lines = []
    for batch in graph:
        members = [m for m in members_of(batch) if m.reads]
        if members and isinstance(batch, Batch):
            label = _label(members, scope.naming)
            width = str(members[0].width)
            name = scope.define(batch.name, f"x_{label}", len(members), f"x_{label}", width)
            lines.append(assign(name, _stacked(_columns(graph, members)), 2))
    return lines


def members_of(node: object) -> list[Input | Reading]:
    """The members of a batch that read features."""
    members = node.members if isinstance(node, Batch) else ()
    return [member for member in members if isinstance(member, Input | Reading)]


def _label(members: Sequence[Input | Reading], naming: Naming) -> str:
    """What the nodes are together: `shared`, `tasks`; `nodes` if the root is one of several."""
    placed = [member for member in members if isinstance(member, Placed)]
    if len(placed) == len(members):
        return naming.label(placed)
    return "nodes" if placed else ROOT


def _columns(graph: Graph, members: Sequence[Input | Reading]) -> list[Column]:
    """The features that members read, neighbours that are read alike together."""
    starts, inputs = columns_of(graph), inputs_of(graph)
    found: list[Column] = []
    for features in zip(*(features_read(graph, m) for m in members), strict=True):
        tables = [table.name for table in inputs[features[0].short]]
        if {feature.short for feature in features} != {features[0].short}:
            found.append(
                Column(-1, 1, 0, features[0].width, tuple(starts[f.name] for f in features))
            )
            continue
        at = tuple(tables.index(feature.name) for feature in features)
        here = Column(starts[tables[0]], 1, len(tables), features[0].width, at)
        joined = _joined_columns(found[-1], here) if found else None
        found[-1:] = [joined] if joined else [*found[-1:], here]
    return found


def _joined_columns(last: Column, here: Column) -> Column | None:
    """Both as one, if the second follows the first and is read alike."""
    if here.start != last.start + last.features * last.tables * last.width:
        return None
    if here.tables == last.tables == 1 and last.features == 1:
        return last._replace(width=last.width + here.width)
    same = (last.tables, last.width, last.at) == (here.tables, here.width, here.at)
    return last._replace(features=last.features + 1) if same and here.tables > 1 else None


def _stacked(columns: list[Column]) -> Expr:
    return _cat([_read(column) for column in columns], "1")


def _cat(parts: list[Expr], dim: str) -> Expr:
    if len(parts) == 1:
        return parts[0]
    options = {"dim": dim} if dim else {}
    return call("torch.cat", sequence(parts, "[]"), **options)


def _read(column: Column) -> Expr:
    """Columns of x [1, V, B] as [nodes, width, B]."""
    start, count, tables, width, at = column
    if count == 1:
        first = [start + i * width for i in at] if tables else list(at)
        return _cat(list(_runs(first, width)), "")
    rows = f"x[0, {start}:{start + count * tables * width}]"
    blocks = f"{rows}.unflatten(0, ({count}, {tables}, {width}))"
    if len(at) > 1 and len(set(at)) == 1:
        return f"{blocks}[:, {at[0]}].flatten(0, 1).expand({len(at)}, -1, -1)"
    if at == tuple(range(at[0], at[0] + len(at))):
        chosen = "" if len(at) == tables else f"[:, {at[0]}:{at[-1] + 1}]"
        return f"{blocks}{chosen}.transpose(0, 1).flatten(1, 2)"
    size = tables * width
    each = [Column(start + i * size, 1, tables, width, at) for i in range(count)]
    return _stacked(each)


def _runs(starts: list[int], width: int) -> Iterator[Expr]:
    """Slices of x: of nodes that read the same, or whose tables are side by side."""
    at = 0
    while at < len(starts):
        steps = [b - a for a, b in pairwise(starts[at:])]
        step = steps[0] if steps and steps[0] in (0, width) else None
        count = 1
        while step is not None and count <= len(steps) and steps[count - 1] == step:
            count += 1
        first = starts[at]
        if step == width and count > 1:
            rows = f"x[0, {first}:{first + count * width}]"
            yield f"{rows}.unflatten(0, ({count}, {width}))"
        else:
            piece = f"x[:, {first}:{first + width}]"
            yield f"{piece}.expand({count}, -1, -1)" if count > 1 else piece
        at += count


def plain_readings(graph: Graph) -> tuple[dict[str, str], list[str]]:
    """The variables of what nodes read, by node, and the lines that set them; x is [B, V].

    Without `at` in the spec all nodes read x itself.
    """
    readings = readings_of(graph)
    variables, lines = {}, []
    for node in readings if len(readings) > 1 else ():
        if not node.reads:
            continue
        name = f"v_{node.identifier if isinstance(node, Reading) else ROOT}"
        variables[node.name] = name
        parts: list[Expr] = [f"x[:, {a}:{a + size}]" for a, size in columns_read(graph, node)]
        whole = parts[0] if len(parts) == 1 else call("torch.cat", sequence(parts, "[]"), dim="-1")
        lines.append(assign(name, whole, 2))
    return variables, [f"{INDENT * 2}# features", *lines, ""] if lines else []
