"""The verifier, which runs after lowering and each pass. A broken graph is a bug in homespec."""

from __future__ import annotations

import networkx as nx

from homespec.graph import Graph
from homespec.graph.nodes import Batch, Mix, Node, Port


class BrokenGraphError(AssertionError):
    """Raised for an invalid graph, which is a bug in homespec, never in the spec."""


def verify(graph: Graph, after: str) -> None:
    """Raise BrokenGraphError for values without a producer or member, and for cycles."""
    ghosts = [name for name in graph.digraph if name not in graph]
    if ghosts:
        raise BrokenGraphError(f"after {after}: values are read that no operation makes: {ghosts}")
    if not nx.is_directed_acyclic_graph(graph.digraph):
        raise BrokenGraphError(f"after {after}: cycle {nx.find_cycle(graph.digraph)}")
    for node in graph:
        for member in node.members if isinstance(node, Batch) else (node,):
            for port in member.reads:
                _check_port(graph, member, port, after)
            _check_mix(member, after)


def _check_port(graph: Graph, reader: Node, port: Port, after: str) -> None:
    producer = graph[port.node]
    size = len(producer.members) if isinstance(producer, Batch) else None
    sound = port.member is None if size is None else port.member in range(size)
    if not sound:
        raise BrokenGraphError(f"after {after}: {reader.name} reads {port}, of {size} members")


def _check_mix(node: Node, after: str) -> None:
    if not isinstance(node, Mix):
        return
    gates = len(node.reads) - len(node.counts) - len(node.residual_positions)
    if gates != 1 and (gates, node.counts) != (0, (1,)):
        raise BrokenGraphError(f"after {after}: {node.name} reads {node.reads}")
