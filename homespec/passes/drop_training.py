"""What training alone needs goes: objectives and the rates at which towers start."""

from __future__ import annotations

import dataclasses

from homespec.graph import Graph
from homespec.graph.nodes import Node, Objective, Tower


def drop_training(graph: Graph) -> Graph:
    """Objectives go, and the base rates at which towers start.

    before:  towers.click(rate=0.4), objectives.click(label=is_click) <- towers.click
    after:   towers.click(rate=none)
    """
    kept = [node for node in graph if not isinstance(node, Objective)]
    return graph.with_nodes([_unstarted(node) for node in kept])


def _unstarted(node: Node) -> Node:
    return dataclasses.replace(node, rate=None) if isinstance(node, Tower) else node
