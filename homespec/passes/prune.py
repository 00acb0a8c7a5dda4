"""Pruning: only what the requested tasks need.

before:  towers.click, towers.like, gates.task.like, experts.task.like, …
after:   towers.click, …                                          (asked for: click)

What a node needs is what it reads, and what that reads. So a gate that stays keeps every set that
it weighs, and its weights stay what they were: no softmax is taken over fewer experts than before.
"""

from __future__ import annotations

from homespec.graph import Graph
from homespec.graph.nodes import Objective, Product, Tower


def prune(graph: Graph, tasks: tuple[str, ...]) -> Graph:
    """Objectives of other tasks go, and the towers, gates and experts that only they needed.

    before:  objectives.click <- towers.click <- states.task.click, objectives.like <- towers.like …
    after:   objectives.click <- towers.click <- states.task.click

    The factors of a product stay, without objectives of their own. Features all stay: v, which
    everything reads, is made of all of them.
    """
    logits = [node for node in graph if isinstance(node, Tower | Product)]
    needed = graph.ancestors(node.name for node in logits if node.task in tasks)
    kept = (
        node
        for node in graph
        if (node.task in tasks if isinstance(node, Objective) else node.name in needed)
    )
    return graph.with_nodes(kept)
