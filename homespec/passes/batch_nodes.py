"""Batching: nodes of one kind, shape and layer become one `Batch`.

before:  experts.meta.shared, experts.meta.watch          (two nodes of equal shape)
after:   experts_meta = Batch(experts.meta.shared, experts.meta.watch)

Readers then read `Port("experts_meta", 1)` in place of `Port("experts.meta.watch")`. Nodes of one
layer and kind never depend on each other, so the result has no cycle. A batch changes the layout,
not the meaning: its members keep their logical names. They are ordered by level of the task tree,
so that the sets that a mixture reads (shared, groups, tasks) are one slice each.

Emission only handles batches, so a pass that is switched off makes batches with one member:

after:   experts_meta_shared = Batch(experts.meta.shared)
         experts_meta_watch = Batch(experts.meta.watch)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import TypeVar

from homespec.graph import Graph
from homespec.graph.feature_nodes import INPUT, SPLIT, Feature, Input, Reading
from homespec.graph.inputs import features_read
from homespec.graph.nodes import (
    ExpertSet,
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


def batch_features(graph: Graph, single: bool = False) -> Graph:
    """Embedding tables of the same width become one table.

    Dense features have no table. A feature that uses another one's table reads that one's part.
    """

    def shape(node: Feature) -> Hashable:
        return node.width if node.rows and not node.table else None

    return _batch(graph, Feature, "table", shape, single)


def batch_feature_gates(graph: Graph, single: bool = False) -> Graph:
    """Feature gates with the same layer, input width, rank and number of LoRAs become one batch."""

    def shape(node: FeatureGate) -> Hashable:
        read = node.read_width
        return (node.layer, node.width, read, node.loras, node.rank, node.mix, node.activation)

    return _batch(graph, FeatureGate, "feature_gates", shape, single)


def batch_experts(graph: Graph, single: bool = False) -> Graph:
    """Expert sets with the same layer, count and style become one stack of experts.

    Sets whose experts read a value each are not batched with sets that read a single value.
    """

    def shape(node: ExpertSet) -> Hashable:
        style = (
            node.norm, node.activation, node.hidden_activation, node.starts, node.dropout
        )  # fmt: skip
        statistics = (node.eps, node.momentum, Port(SPLIT) in node.reads)
        return (node.layer, node.widths, node.count, len(node.reads), *style, *statistics)

    return _batch(graph, ExpertSet, "experts", shape, single)


def batch_projections(graph: Graph, single: bool = False) -> Graph:
    """Projections with the same layer and shape become one batch: one GEMM for equal groups.

    Projections of a split v, which is not one tensor, are not batched with others.
    """

    def shape(node: Projection) -> Hashable:
        sections = tuple((s.purpose, len(s.nodes), s.width, s.loras) for s in node.sections)
        alone = node.name if Port(SPLIT) in node.reads else ""
        return (node.layer, tuple(map(graph.width_of, node.reads)), sections, alone)

    return _batch(graph, Projection, "projections", shape, single)


def batch_gates(graph: Graph, single: bool = False) -> Graph:
    """Mixture gates with the same layer and shape become one batch, unless over one expert."""

    def shape(node: Gate) -> Hashable:
        return _gate_shape(graph, node) if node.choices > 1 else None

    return _batch(graph, Gate, "gates", shape, single)


def batch_self_gates(graph: Graph, single: bool = False) -> Graph:
    """Self gates with the same layer and shape become one batch."""
    return _batch(graph, SelfGate, "self_gates", lambda node: _gate_shape(graph, node), single)


def _gate_shape(graph: Graph, gate: Gate) -> Hashable:
    """Gates that read states of different widths are batched only if projections read for them."""
    if graph.is_projected(gate):
        return (gate.layer, gate.choices)
    reads = tuple(map(graph.width_of, gate.reads))
    return (gate.layer, gate.widths, gate.hidden_activation, reads, Port(SPLIT) in gate.reads)


def batch_mixtures(graph: Graph, single: bool = False) -> Graph:
    """Mixtures of one layer that read sets with the same counts become one batch.

    So do the features that nodes of the tree read, if their widths agree one by one.
    """

    def shape(node: Mix) -> Hashable:
        return (node.layer, node.width, node.counts, node.residual_positions, bool(node.foreign))

    graph = _batch(graph, Mix, "states", shape, single)
    return _batch_readings(graph, single) if graph.of(Reading) else graph


def _batch_readings(graph: Graph, single: bool) -> Graph:
    def shape(node: Node) -> Hashable:
        assert isinstance(node, Input | Reading)
        widths = [feature.width for feature in features_read(graph, node)]
        return tuple(widths) or None

    return _batch(graph, Input, "readings", shape, single, Reading)


def batch_towers(graph: Graph, single: bool = False) -> Graph:
    """Towers with the same shape become one batch."""

    def shape(node: Tower) -> Hashable:
        norm = (node.norm, node.eps, node.momentum)
        return (node.widths, node.activation, *norm, node.dropout)

    return _batch(graph, Tower, "towers", shape, single)


def _batch(
    graph: Graph, kind: type[N], prefix: str, shape: Callable[[N], Hashable], single: bool,
    *more: type[N],
) -> Graph:  # fmt: skip
    """Replace the nodes of `kind`, or `more`, by one batch for each shape; None leaves a node.

    With `single`, each node becomes a batch.
    """
    nodes = [n for each in (kind, *more) for n in graph.of(each) if shape(n) is not None]
    buckets: dict[Hashable, list[N]] = {}
    for node in sorted(nodes, key=lambda node: node.level if isinstance(node, Placed) else 0):
        buckets.setdefault(_alone(node) if single else shape(node), []).append(node)
    heads = Counter(_head(prefix, bucket[0]) for bucket in buckets.values())
    batches: dict[str, Node] = {}
    moved: dict[str, Port] = {}
    for bucket in buckets.values():
        name = _head(prefix, bucket[0])
        if single or heads[name] > 1:
            name += f"_{_place(bucket[0])}"
        batches[bucket[0].name] = batch_of(name, tuple(bucket))
        moved |= {node.name: Port(name, index) for index, node in enumerate(bucket)}

    def move(port: Port) -> Port:
        return moved.get(port.node, port)

    kept = (batches.get(n.name, n) for n in graph if n.name in batches or n.name not in moved)
    return graph.with_nodes([node.renamed(move) for node in kept])


def _alone(node: Node) -> str:
    """What has a batch of its own; the tables of one feature are looked up together."""
    return node.short if isinstance(node, Feature) else node.name


def _head(prefix: str, node: Node) -> str:
    """The name of a batch, from its layer or the width of its tables.

    If there are several, the `_place` of the first member distinguishes them.
    """
    if isinstance(node, Feature):
        return f"{prefix}_{node.width}"
    if isinstance(node, Input):
        return INPUT
    return f"{prefix}_{node.layer}" if isinstance(node, Placed) and node.layer else prefix


def _place(node: Node) -> str:
    """It is unique, because names begin with letters and names of layers contain no `_`."""
    if isinstance(node, Placed):
        return node.identifier
    own = node.name.partition(".")[2]
    sequence, dot, field = own.partition(".")
    return f"{len(sequence)}_{sequence}_{field}" if dot else own
