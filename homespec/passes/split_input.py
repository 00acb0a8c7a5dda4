"""Splitting v: nodes that read it only through Linears get the user's and the candidates' parts.

before:  experts.meta.shared <- input
after:   split_input <- features              (the same as those of input)
         experts.meta.shared <- split_input

W v is W_user v_user + W_candidate v_candidate, so the first product is computed once for a request,
whatever its number of candidates. Nodes that read v elementwise, such as feature gates, still read
`input`, in which the user's columns are repeated for each candidate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from homespec.graph import Graph
from homespec.graph.feature_nodes import INPUT, SPLIT, Input, Reading, SplitInput
from homespec.graph.nodes import ExpertSet, Gate, Node, Port, Projection, SelfGate
from homespec.graph.once import is_once, parts_of_input

LINEAR = (ExpertSet, Gate, SelfGate, Projection)
"""The nodes that begin with Linears."""


def split_input(graph: Graph) -> Graph:
    """Split v for all nodes that read nothing else and begin with Linears.

    before:  projections.meta.input <- input, feature_gates.meta.shared <- input, projections…
    after:   projections.meta.input <- split_input, feature_gates.meta.shared <- input, projections…
    """
    # with a Reading, nodes read parts of the features, each of which would be split in two
    columns = () if graph.of(Reading) else tuple(_columns(graph))
    if not columns or not any(map(_is_split, graph)):
        return graph
    nodes: list[Node] = []
    for node in graph:
        nodes.append(_splitting(node))
        if isinstance(node, Input):
            split = SplitInput(
                name=SPLIT, reads=node.reads, span=node.span, width=node.width, columns=columns
            )
            nodes.append(split)
    return graph.with_nodes(nodes)


def _is_split(node: Node) -> bool:
    return isinstance(node, LINEAR) and node.reads == (Port(INPUT),)


def _splitting(node: Node) -> Node:
    return dataclasses.replace(node, reads=(Port(SPLIT),)) if _is_split(node) else node


def _columns(graph: Graph) -> Iterator[tuple[int, int]]:
    """The ranges of the user's columns in v, with adjacent ones merged."""
    start = end = at = 0
    for part in parts_of_input(graph):
        if is_once(part, graph.user):
            if at > end:
                if end > start:
                    yield start, end
                start = at
            end = at + part.width
        at += part.width
    if end > start:
        yield start, end
