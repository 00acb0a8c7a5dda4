"""For CUDA: replaces feature gates by kernels that avoid writing intermediate values to memory."""

from __future__ import annotations

import dataclasses

from homespec.graph import Graph
from homespec.graph.nodes import Batch, FeatureGate, FusedFeatureGate, Node

MAX_LORAS, MAX_RANKS = 4, 64
"""Limits for one gate; RANKS is the sum over its LoRAs.

A tile of the kernels holds all of them, and would not fit into registers and shared memory of every
GPU if there were more.
"""


def fuse_feature_gates(graph: Graph) -> Graph:
    """Replace feature gates by ones that do not store their mixture of LoRAs, if ranks allow it.

    before:  feature_gates_meta = Batch(feature_gates.meta.shared, feature_gates.meta.watch)
    after:   the same, and each of them a `FusedFeatureGate`
    """
    return graph.with_nodes([_fused(node) for node in graph])


def _fused(node: Node) -> Node:
    if isinstance(node, Batch):
        return dataclasses.replace(node, members=tuple(map(_fused, node.members)))
    if not isinstance(node, FeatureGate):
        return node
    if node.activation != "none":
        return node
    if node.loras > MAX_LORAS or node.loras * node.rank > MAX_RANKS:
        return node
    fields = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}
    return FusedFeatureGate(**fields)
