"""For CUDA: what inductor would write to memory and read again is left to kernels of its own."""

from __future__ import annotations

import dataclasses

from homespec.graph import Batch, FeatureGate, FusedFeatureGate, Graph, Node

MOST_RANKS = 128
"""Of all LoRAs of a gate. A tile of the kernel holds all of them: more leave no room on the chip,
and so much arithmetic for each byte that a plain product is no worse."""


def fuse_feature_gates(graph: Graph) -> Graph:
    """Feature gates become such as never write their mixture of LoRAs, where the ranks allow it.

    before:  feature_gates_meta = Batch(feature_gates.meta.shared, feature_gates.meta.watch)
    after:   the same, and each of them a `FusedFeatureGate`
    """
    return Graph(graph.name, graph.span, [_fused(node) for node in graph])


def _fused(node: Node) -> Node:
    if isinstance(node, Batch):
        return dataclasses.replace(node, members=tuple(map(_fused, node.members)))
    if not isinstance(node, FeatureGate) or node.loras * node.rank > MOST_RANKS:
        return node
    fields = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}
    return FusedFeatureGate(**fields)
