"""What is constant in eval mode becomes part of the weights beside it.

The weights keep their logical names: a file for inference folds them as it loads them.
"""

from __future__ import annotations

import dataclasses

from homespec.graph import Graph
from homespec.graph.nodes import ExpertSet, Node, Tower


def fold_batch_norm(graph: Graph) -> Graph:
    """Batch norm in eval mode is affine: it becomes part of the Linear before it.

    before:  experts.meta.watch = experts(norm=batch, activation=dice)    (last Linear without bias)
    after:   experts.meta.watch = experts(norm=folded, activation=folded_dice)    (with a bias)

    gamma (W x - mean) / sqrt(var + eps) + beta is W' x + b' with scale = gamma / sqrt(var + eps),
    W' = scale W and b' = beta - scale mean. Dice follows a norm or a bias and keeps u itself
    beside its normalised form, so its statistics become a scale and a shift of its own. The hidden
    layers of towers are folded alike.
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
