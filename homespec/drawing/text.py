"""The graph as text, one node a line: `name = kind(attributes) <- values it reads`.

The members of a batch are indented below it; `experts_meta[1]` is the value of its second member.
Spans are not included, so that equal texts mean equal models.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from homespec.analysis.yaml_writer import flow
from homespec.graph import Graph
from homespec.graph.nodes import Batch, Node, Port

IN_THE_NAME = ("name", "short", "layer", "place", "level", "parent", "task")
"""Fields that a node's name and place in the tree already show."""


def as_text(graph: Graph) -> str:
    """One line for each node, in dependency order."""
    return "".join(f"{line}\n" for node in graph for line in _lines(node))


def _lines(node: Node) -> Iterator[str]:
    if isinstance(node, Batch):
        yield f"{node.name} = batch"
        for member in node.members:
            yield f"  {_line(member)}"
    else:
        yield _line(node)


def _line(node: Node) -> str:
    inside = ", ".join(f"{key}={_value(v)}" for key, v in attributes(node).items())
    reads = ", ".join(map(port_name, node.reads))
    return f"{node.name} = {node.kind}({inside})" + (f" <- {reads}" if reads else "")


def attributes(node: Node) -> dict[str, Any]:
    """The attributes of a node, except its name, place, reads and members."""
    skipped = (*IN_THE_NAME, "reads", "order", "span", "members")
    fields = [f.name for f in dataclasses.fields(node) if f.name not in skipped]
    return {field: getattr(node, field) for field in fields}


def port_name(port: Port) -> str:
    """`experts.meta.watch`, or `experts_meta[1]` for a member of a batch."""
    return port.node if port.member is None else f"{port.node}[{port.member}]"


def _value(value: object) -> str:
    """A value as a spec writes it; `none` for a missing value."""
    if dataclasses.is_dataclass(value):
        options = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        inside = ", ".join(f"{key}={_value(each)}" for key, each in options)
        return f"{type(value).__name__.lower()}({inside})"
    return "none" if value is None else flow(value)
