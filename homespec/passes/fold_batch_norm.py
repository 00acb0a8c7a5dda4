"""Folds parts that are constant in eval mode into the neighbouring weights.

The weights keep their logical names: a file for inference folds them when it loads them.
"""

from __future__ import annotations

import dataclasses

from homespec.graph import Graph
from homespec.graph.nodes import ExpertSet, Node, Tower


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold batch norm, which is affine in eval mode, into the Linear before it.

    before:  experts.meta.watch = experts(norm=batch, activation=dice)    (last Linear without bias)
    after:   experts.meta.watch = experts(norm=folded, activation=folded_dice)    (with a bias)

    gamma (W x - mean) / sqrt(var + eps) + beta is W' x + b' with scale = gamma / sqrt(var + eps),
    W' = scale W and b' = beta - scale mean. Dice also needs u without normalisation, so its
    statistics become its own scale and shift. The hidden layers of towers are folded in the same
    way.
    """
    return graph.with_nodes([_folded(node) for node in graph])


def _folded(node: Node) -> Node:
    if isinstance(node, Tower) and node.norm == "batch":
        return dataclasses.replace(node, norm="folded")
    if not isinstance(node, ExpertSet):
        return node
    return dataclasses.replace(
        node,
        norm="folded" if node.norm == "batch" else node.norm,
        activation="folded_dice" if node.activation == "dice" else node.activation,
    )
