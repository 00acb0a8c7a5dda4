"""Drops parts that only training needs: objectives, dropout and initialisation."""

from __future__ import annotations

import dataclasses

from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature
from homespec.graph.nodes import ExpertSet, Gate, Node, Objective, Tower
from homespec.graph.sequences import Din, Sequence


def drop_training(graph: Graph) -> Graph:
    """Drop objectives, dropout and the initialisation of weights.

    before:  towers.click(rate=0.4, starts=[relu]), objectives.click(label=is_click) <- towers.click
    after:   towers.click(rate=none, starts=[])
    """
    kept = [node for node in graph if not isinstance(node, Objective)]
    return graph.with_nodes([_unstarted(node) for node in kept])


def _unstarted(node: Node) -> Node:
    match node:
        case Tower():
            return dataclasses.replace(node, rate=None, starts=(), dropout=0.0)
        case ExpertSet():
            return dataclasses.replace(node, starts=(), dropout=0.0)
        case Gate():
            return dataclasses.replace(node, starts=())
        case Feature():
            return dataclasses.replace(node, dropout=0.0)
        case Sequence(encoder=Din() as din):
            encoder = dataclasses.replace(din, starts=())
            return dataclasses.replace(node, encoder=encoder, dropout=0.0)
        case Sequence():
            return dataclasses.replace(node, dropout=0.0)
    return node
