"""The graph as JSON: its nodes in dependency order, each with the line that defines it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from homespec.drawing.text import attributes, port_name
from homespec.graph import Graph
from homespec.graph.nodes import Batch, Node, Placed


def as_json(graph: Graph) -> str:
    """`{"name": …, "nodes": [{"name", "kind", "layer"?, "reads", "line", attributes…}, …]}`."""
    data = {"name": graph.name, "nodes": [_node(node) for node in graph]}
    return json.dumps(data, indent=2, ensure_ascii=False, default=_options) + "\n"


def _options(encoder: Any) -> dict[str, Any]:
    """The encoder of a sequence."""
    return {"kind": type(encoder).__name__.lower(), **dataclasses.asdict(encoder)}


def _node(node: Node) -> dict[str, Any]:
    placed = {"layer": node.layer, "place": node.place} if isinstance(node, Placed) else {}
    members = [_node(m) for m in node.members] if isinstance(node, Batch) else []
    return {
        "name": node.name,
        "kind": node.kind,
        **placed,
        "file": node.span.file,
        "line": node.span.start.line,
        "reads": [port_name(port) for port in node.reads],
        **attributes(node),
        **({"members": members} if members else {}),
    }
