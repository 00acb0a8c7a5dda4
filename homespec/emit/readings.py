"""Stage 7, emit: the features that nodes of the task tree read, as slices of all look-ups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from homespec.emit.layout import INDENT, Expr, assign, call, sequence
from homespec.emit.naming import Naming
from homespec.emit.scope import Scope
from homespec.graph import Graph
from homespec.graph.inputs import columns_of, columns_read, features_read, readings_of
from homespec.graph.nodes import Batch, Input, Placed, Reading
from homespec.schema.identifiers import ROOT

Starts = tuple[int, ...]


class Column(NamedTuple):
    """A feature that the nodes of a batch read: where it begins for each of them, and its width."""

    starts: Starts
    width: int


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
    """The features that members read, by position; neighbours that all read are one."""
    starts = columns_of(graph)
    found: list[Column] = []
    for features in zip(*(features_read(graph, m) for m in members), strict=True):
        here = Column(tuple(starts[f.name] for f in features), features[0].width)
        if found and _continues(found[-1], here):
            found[-1] = Column(found[-1].starts, found[-1].width + here.width)
        else:
            found.append(here)
    return found


def _continues(last: Column, column: Column) -> bool:
    """Whether the columns follow the last ones, which are the same for all nodes."""
    alike = len(set(last.starts)) == len(set(column.starts)) == 1
    return alike and column.starts[0] == last.starts[0] + last.width


def _stacked(columns: list[Column]) -> Expr:
    parts = [_joined(list(_runs(column)), "") for column in columns]
    return _joined(parts, "1")


def _joined(parts: list[Expr], dim: str) -> Expr:
    if len(parts) == 1:
        return parts[0]
    options = {"dim": dim} if dim else {}
    return call("torch.cat", sequence(parts, "[]"), **options)


def _runs(column: Column) -> Iterator[Expr]:
    """Slices of x [G, width, B]: of nodes that read the same, or tables that are side by side."""
    starts, width = column
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
