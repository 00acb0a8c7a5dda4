"""Pruning: keeps only what the requested tasks need.

before:  towers.click, towers.like, gates.task.like, experts.task.like, …
after:   towers.click, …                                          (asked for: click)

A node needs everything that it reads, directly or indirectly. So a gate that is kept keeps every
set that it weighs, and its weights do not change: no softmax is taken over fewer experts than
before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from homespec.graph import Graph
from homespec.graph.inputs import root_input
from homespec.graph.nodes import Node, Objective, Product, Tower


def prune(graph: Graph, tasks: tuple[str, ...]) -> Graph:
    """Drop objectives of other tasks, and the towers, gates and experts that only they need.

    before:  objectives.click <- towers.click <- states.task.click, objectives.like <- towers.like …
    after:   objectives.click <- towers.click <- states.task.click

    The factors of a product are kept, without their objectives. So are all features at the root,
    because v consists of them. Features at other nodes go with their readers.
    """
    logits = [node for node in graph if isinstance(node, Tower | Product)]
    needed = graph.ancestors(node.name for node in logits if node.task in tasks)
    kept = (
        node
        for node in graph
        if (node.task in tasks if isinstance(node, Objective) else node.name in needed)
    )
    return graph.with_nodes([*kept, *_unread(graph, needed)])


def _unread(graph: Graph, needed: set[str]) -> Iterator[Node]:
    """v without its features, if it is not needed: it knows the order of the others."""
    v = root_input(graph)
    if v.name not in needed:
        yield dataclasses.replace(v, reads=(), width=0)
