"""Pruning: keeps only what the requested tasks need.

before:  towers.click, towers.like, gates.task.like, experts.task.like, …
after:   towers.click, …                                          (asked for: click)

A node needs everything that it reads, directly or indirectly. So a gate that is kept keeps every
set that it weighs, and its weights do not change: no softmax is taken over fewer experts than
before.
"""

from __future__ import annotations

from homespec.graph import Graph
from homespec.graph.nodes import Objective, Product, Tower


def prune(graph: Graph, tasks: tuple[str, ...]) -> Graph:
    """Drop objectives of other tasks, and the towers, gates and experts that only they need.

    before:  objectives.click <- towers.click <- states.task.click, objectives.like <- towers.like …
    after:   objectives.click <- towers.click <- states.task.click

    The factors of a product are kept, without their objectives. All features are kept, because all
    nodes read v, which consists of all features.
    """
    logits = [node for node in graph if isinstance(node, Tower | Product)]
    needed = graph.ancestors(node.name for node in logits if node.task in tasks)
    kept = (
        node
        for node in graph
        if (node.task in tasks if isinstance(node, Objective) else node.name in needed)
    )
    return graph.with_nodes(kept)
