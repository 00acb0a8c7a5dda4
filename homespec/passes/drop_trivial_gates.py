"""Drops gates that have only one expert to choose."""

from __future__ import annotations

import dataclasses

from homespec.graph import Graph
from homespec.graph.nodes import Gate, Mix, Node


def drop_trivial_gates(graph: Graph) -> Graph:
    """A gate over one expert has the weight 1, so the mixture is that expert and needs no gate.

    before:  states.task.click = state(counts=[1]) <- gates.task.click, experts.task.shared
    after:   states.task.click = state(counts=[1]) <- experts.task.shared

    Self gates are kept, because they scale the expert by a sigmoid.
    """
    trivial = {gate.name for gate in graph.of(Gate) if gate.choices == 1}
    kept = (node for node in graph if node.name not in trivial)
    return graph.with_nodes([_ungated(node, trivial) for node in kept])


def _ungated(node: Node, trivial: set[str]) -> Node:
    if isinstance(node, Mix) and node.gate.node in trivial:
        return dataclasses.replace(node, reads=node.reads[1:])
    return node
