"""Batching: nodes of one kind and shape in one layer become one `Batch`.

before:  experts.meta.shared, experts.meta.watch          (two nodes of equal shape)
after:   experts_meta = Batch(experts.meta.shared, experts.meta.watch)

Readers then read `Port("experts_meta", 1)` in place of `Port("experts.meta.watch")`. Nodes of one
layer and kind never depend on each other, so the result has no cycle. A batch is layout, not
meaning: its members keep their logical names. Members lie level by level of the task tree, so that
what a mixture reads (the shared set, those of groups, those of tasks) is one slice each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import groupby
from typing import TypeVar

from homespec.graph import Graph
from homespec.graph.nodes import (
    ExpertSet,
    Feature,
    FeatureGate,
    Gate,
    Mix,
    Node,
    Placed,
    Port,
    Projection,
    SelfGate,
    Tower,
    batch_of,
)

N = TypeVar("N", bound=Node)


def batch_features(graph: Graph) -> Graph:
    """Embedding tables of one width become one table.

    Dense features have none, and a feature that is looked up in another's reads that one's part.
    """
    return _batch(graph, Feature, "table", lambda n: n.width if n.rows and not n.table else None)


def batch_feature_gates(graph: Graph) -> Graph:
    """Feature gates of one layer, input width, rank and number of LoRAs become one."""
    return _batch(
        graph, FeatureGate, "feature_gates", lambda n: (n.layer, n.width, n.loras, n.rank, n.mix)
    )


def batch_experts(graph: Graph) -> Graph:
    """Expert sets of one layer, count and style become one stack of experts.

    Sets whose experts read a value each stay apart from those that read one.
    """
    return _batch(
        graph,
        ExpertSet,
        "experts",
        lambda n: (
            *(n.layer, n.widths, n.count, len(n.reads), n.norm, n.activation),
            *(n.hidden_activation, n.eps, n.momentum),
        ),
    )


def batch_projections(graph: Graph) -> Graph:
    """Projections of one layer and shape become one: one batched GEMM for equal groups."""

    def shape(node: Projection) -> Hashable:
        sections = tuple((s.purpose, len(s.nodes), s.width, s.loras) for s in node.sections)
        return (node.layer, tuple(map(graph.width_of, node.reads)), sections)

    return _batch(graph, Projection, "projections", shape)


def batch_gates(graph: Graph) -> Graph:
    """Mixture gates of one layer and shape become one. A gate over one expert has no weights."""
    return _batch(graph, Gate, "gates", lambda n: _gate_shape(graph, n) if n.choices > 1 else None)


def batch_self_gates(graph: Graph) -> Graph:
    """Self gates of one layer and shape become one."""
    return _batch(graph, SelfGate, "self_gates", lambda n: _gate_shape(graph, n))


def _gate_shape(graph: Graph, gate: Gate) -> Hashable:
    """Gates that read states of different widths stay apart, unless projections read for them."""
    if graph.is_projected(gate):
        return (gate.layer, gate.choices)
    reads = tuple(map(graph.width_of, gate.reads))
    return (gate.layer, gate.widths, gate.hidden_activation, reads)


def batch_mixtures(graph: Graph) -> Graph:
    """Mixtures of one layer that read sets of the same counts become one."""
    return _batch(
        graph, Mix, "states", lambda n: (n.layer, n.width, n.counts, n.residual_positions)
    )


def batch_towers(graph: Graph) -> Graph:
    """Towers of one shape become one."""
    return _batch(graph, Tower, "towers", lambda n: (n.widths, n.activation))


def _batch(graph: Graph, kind: type[N], prefix: str, signature: Callable[[N], Hashable]) -> Graph:
    """Replace the nodes of `kind` by one batch for each signature; None leaves a node alone."""
    members = [node for node in graph.of(kind) if signature(node) is not None]
    members.sort(key=lambda node: node.level if isinstance(node, Placed) else 0)
    buckets: dict[Hashable, list[N]] = {}
    for node in members:
        buckets.setdefault(signature(node), []).append(node)
    names = _names(prefix, list(buckets.values()))
    moved = {
        node.name: Port(name, index)
        for name, bucket in zip(names, buckets.values(), strict=True)
        for index, node in enumerate(bucket)
    }
    batches = {
        bucket[0].name: batch_of(name, tuple(bucket))
        for name, bucket in zip(names, buckets.values(), strict=True)
    }

    def move(port: Port) -> Port:
        return moved.get(port.node, port)

    kept = (batches.get(n.name, n) for n in graph if n.name in batches or n.name not in moved)
    return Graph(graph.name, graph.span, [node.renamed(move) for node in kept])


def _names(prefix: str, buckets: list[list[N]]) -> list[str]:
    """Names from the spec: the layer, and the first member where a layer has several batches.

    Tables are named by their width.
    """
    heads = [_layer(prefix, bucket[0]) for bucket in buckets]
    alone = {head for head, group in groupby(sorted(heads)) if len(list(group)) == 1}
    return [
        head if head in alone else f"{head}_{_place(bucket[0])}"
        for head, bucket in zip(heads, buckets, strict=True)
    ]


def _layer(prefix: str, node: Node) -> str:
    if isinstance(node, Feature):
        return f"{prefix}_{node.width}"
    return f"{prefix}_{node.layer}" if isinstance(node, Placed) else prefix


def _place(node: Node) -> str:
    return node.identifier if isinstance(node, Placed) else node.name.rpartition(".")[2]
