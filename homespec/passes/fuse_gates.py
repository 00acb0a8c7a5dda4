"""Fusing: all Linears of gates that read one value become one wide Linear, a `Projection`.

before:  feature_gates.meta.watch <- input          gates.meta.watch <- input
after:   projections.meta.input <- input            one GEMM for both
         feature_gates.meta.watch <- input, projections.meta.input
         gates.meta.watch <- projections.meta.input

A projection changes the layout, not the meaning: the gates keep their logical names and weights.
Gates with hidden layers are not fused.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import NamedTuple

from homespec.graph import Graph
from homespec.graph.feature_nodes import Columns, Detached
from homespec.graph.nodes import (
    FeatureGate,
    Gate,
    Node,
    Placed,
    Port,
    Projection,
    Section,
    SelfGate,
)

PURPOSES = ("down", "hidden", "router", "gate", "self_gate")
"""The purposes of columns in order; those without a bias come first."""

Value = tuple[Port, ...]
Consumer = tuple[str, str, int, int]
Key = tuple[Value, str]


class Part(NamedTuple):
    """The columns of a projection that one node reads for one purpose."""

    node: Placed
    value: Value
    purpose: str
    width: int
    loras: int = 1

    @property
    def consumer(self) -> Consumer:
        """Inputs that are read together: parts of the same consumer and level are adjacent."""
        return (self.purpose, self.node.layer, self.width, self.loras)


def fuse_gates(graph: Graph, single: bool = False) -> Graph:
    """Add one projection for each value that gates read, before the first of them.

    before:  gates.meta.watch <- input, self_gates.meta.watch <- input
    after:   projections.meta.input <- input, both gates <- projections.meta.input

    With `single`, each gate has its own projection: nothing is fused, but the form is the same.
    """
    values: dict[Key, list[Part]] = {}
    for node in graph:
        for part in parts_of(node):
            values.setdefault(_key(part, single), []).append(part)
    sources = Counter(c for parts in values.values() for c in {part.consumer for part in parts})
    names: dict[Key, str] = {}
    nodes: list[Node] = []
    for node in graph:
        read = parts_of(node)
        if not read:
            nodes.append(node)
            continue
        key = _key(read[0], single)
        if key not in names:
            projection = _projection(graph, values[key], sources, set(names.values()))
            names[key] = projection.name
            nodes.append(projection)
        port = Port(names[key])
        reads = (node.reads[0], port) if isinstance(node, FeatureGate) else (port,)
        nodes.append(dataclasses.replace(node, reads=reads))
    return graph.with_nodes(nodes)


def _key(part: Part, single: bool) -> Key:
    return (part.value, part.node.name if single else "")


def parts_of(node: Node) -> list[Part]:
    """The Linears of a node that can be part of a projection, as columns."""
    if isinstance(node, FeatureGate):
        purpose = "down" if node.activation == "none" else "hidden"
        down = Part(node, node.reading, purpose, node.loras * node.rank, node.loras)
        router = Part(node, node.reading, "router", node.loras)
        return [down, router] if node.loras > 1 else [down]
    if isinstance(node, Gate) and node.reads and len(node.widths) == 2:
        if isinstance(node, SelfGate):
            return [Part(node, node.reads, "self_gate", node.choices)]
        if node.choices > 1:
            return [Part(node, node.reads, "gate", node.choices)]
    return []


def _projection(
    graph: Graph,
    parts: list[Part],
    sources: Counter[Consumer],
    taken: set[str],
) -> Projection:
    first, value = parts[0].node, parts[0].value
    place = _place(graph, value[0]) + ("_path" if len(value) > 1 else "")
    while f"projections.{first.layer}.{place}" in taken:
        place += "_"
    return Projection(
        name=f"projections.{first.layer}.{place}",
        reads=value,
        span=first.span,
        layer=first.layer,
        place=place,
        level=first.level,
        width=sum(graph.width_of(port) for port in value),
        sections=_sections(parts, sources),
    )


def _place(graph: Graph, port: Port) -> str:
    node = graph[port.node]
    if isinstance(node, Detached):
        return f"{_place(graph, node.reads[0])}_detached"
    if isinstance(node, Columns):
        return "features"
    return node.identifier if isinstance(node, Placed) else node.name


def _sections(parts: list[Part], sources: Counter[Consumer]) -> tuple[Section, ...]:
    """Sections by purpose, consumer and level of the tree.

    Batches are ordered by level. If a consumer has only this projection, its levels need not be
    distinguished.
    """
    names: dict[tuple[Consumer, int], list[str]] = {}
    for part in sorted(parts, key=lambda p: p.node.level):
        level = part.node.level if sources[part.consumer] > 1 else 0
        names.setdefault((part.consumer, level), []).append(part.node.name)
    ordered = sorted(names.items(), key=lambda item: PURPOSES.index(item[0][0][0]))
    return tuple(
        Section(purpose, tuple(nodes), width, loras)
        for ((purpose, _, width, loras), _), nodes in ordered
    )
