"""A summary of a spec's model: its parts, their inputs and their costs.

Every cost of the graph is in exactly one row: feature gates and self gates belong to the set that
they gate, mixture gates to the state that they compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homespec.analysis.costs import Cost, cost_of
from homespec.graph import Graph
from homespec.graph.feature_nodes import Columns, Detached, Feature, Input, Reading
from homespec.graph.nodes import (
    ExpertSet,
    FeatureGate,
    Gate,
    Mix,
    Node,
    Placed,
    Port,
    Product,
    SelfGate,
    Tower,
)
from homespec.graph.sequences import Sequence
from homespec.lower import Lowered
from homespec.resolve.families import title_of
from homespec.resolve.tree import Role, TreeNode
from homespec.schema.identifiers import ROOT

PARTS: dict[str, type[Node]] = {
    "embeddings": Feature,
    "sequences": Sequence,
    "feature gates": FeatureGate,
    "experts": ExpertSet,
    "gates": Gate,
    "self gates": SelfGate,
    "towers": Tower,
}
"""The components of the total cost."""


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """An input feature. `rows` is the length of its embedding table, 0 if it has none."""

    name: str
    column: str
    kind: str
    rows: int
    width: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class FeatureGateInfo:
    """The feature gate of a set."""

    loras: int
    rank: int
    mix: str


@dataclass(frozen=True, slots=True)
class SetRow:
    """The expert set of a tree node with the gates on its input and output."""

    node: str
    count: int
    widths: tuple[int, ...]
    hidden_activation: str
    norm: str
    activation: str
    dropout: float
    reads: str
    feature_gate: FeatureGateInfo | None
    self_gate: tuple[int, ...] | None
    cost: Cost


@dataclass(frozen=True, slots=True)
class StateRow:
    """The state of a tree node: the sets that its gate mixes with their numbers of experts, what
    the gate reads, and the sets whose self gates add to it."""

    node: str
    width: int
    mixes: dict[str, int]
    gate: tuple[int, ...]
    gate_reads: tuple[str, ...]
    self_gates: tuple[str, ...]
    cost: Cost


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """The expert sets and states of one layer."""

    name: str
    sets: tuple[SetRow, ...]
    states: tuple[StateRow, ...]


@dataclass(frozen=True, slots=True)
class TowerRow:
    """A task with its tower."""

    task: str
    kind: str
    label: str
    where: str
    weight: float
    rate: float | None
    widths: tuple[int, ...]
    norm: str
    activation: str
    dropout: float
    cost: Cost


@dataclass(frozen=True, slots=True)
class ProductRow:
    """A task whose probability is the product of the probabilities of its factors."""

    task: str
    label: str
    weight: float
    factors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole model. `width` is that of the input v; `parts` are the costs by kind of node."""

    name: str
    family: str
    description: str
    tree: dict[str, Any]
    width: int
    features: tuple[FeatureRow, ...]
    layers: tuple[LayerSummary, ...]
    towers: tuple[TowerRow, ...]
    products: tuple[ProductRow, ...]
    parts: dict[str, Cost]
    total: Cost


def summarise(lowered: Lowered) -> Summary:
    """The summary of a sound spec."""
    spec, graph = lowered.spec, lowered.graph
    (v,) = graph.of(Input)
    return Summary(
        name=spec.name,
        family=title_of(spec),
        description=spec.description,
        tree=_members(lowered.root),
        width=v.width,
        features=(*map(_feature, graph.of(Feature)), *map(_sequence, graph.of(Sequence))),
        layers=tuple(_layer(graph, layer.name) for layer in lowered.layers),
        towers=tuple(_tower(lowered, tower) for tower in graph.of(Tower)),
        products=tuple(_product(lowered, product) for product in graph.of(Product)),
        parts={
            part: cost_of(graph.of(kind))
            for part, kind in PARTS.items()
            if kind is not Sequence or graph.of(Sequence)
        },
        total=cost_of(graph),
    )


def _members(node: TreeNode) -> dict[str, Any]:
    """The task tree as mappings: groups map to their members, tasks to None."""
    return {
        child.name: None if child.role is Role.TASK else _members(child) for child in node.children
    }


def _feature(node: Feature) -> FeatureRow:
    rows = 0 if node.table else node.rows
    column = ", ".join(node.crossed) or node.column
    cost = cost_of([node])
    return FeatureRow(_placed(node), column, _kind(node), rows, node.width, cost)


def _placed(node: Feature | Sequence) -> str:
    """The name of a feature, and its place unless that is the root."""
    is_root = node.place == ROOT and not (isinstance(node, Feature) and node.one_of_several)
    return node.short if is_root else f"{node.short} at {node.place}"


def _kind(node: Feature) -> str:
    """A short description of a feature."""
    if node.pool:
        pool = f"weighted {node.pool}" if node.weighted else node.pool
        return f"{pool} of {node.length}: {_value_kind(node)}"
    return _value_kind(node)


def _value_kind(node: Feature) -> str:
    """A short description of one value."""
    if node.table:
        return f"in the table of {node.table.removeprefix('features.')}"
    if node.fitted:
        return f"{node.fitted + 1} quantiles"
    if node.source == "number":
        return f"number, {node.scale}" if node.scaled else "number"
    if node.source == "dense":
        projected = f"dense {node.numbers}→{node.width}" if node.projected else "dense"
        return projected + (", learned if missing" if node.learned else "")
    if node.crossed:
        return "cross of hashed pairs"
    if node.words:
        return "fitted ids"
    return "hashed id" if node.hashed else node.source


def _sequence(node: Sequence) -> FeatureRow:
    """A sequence. Its tables are those of its fields, and its cost is that of its encoder."""
    kind = f"{type(node.encoder).__name__.lower()} of {node.max_len} events"
    columns = ", ".join(field.name for field in node.fields)
    return FeatureRow(_placed(node), columns, kind, 0, node.width, cost_of([node]))


def _layer(graph: Graph, layer: str) -> LayerSummary:
    gates = {gate.place: gate for gate in graph.of(SelfGate) if gate.layer == layer}
    sets = tuple(
        _set(graph, node, gates.get(node.place))
        for node in graph.of(ExpertSet)
        if node.layer == layer
    )
    states = tuple(_state(graph, node) for node in graph.of(Mix) if node.layer == layer)
    return LayerSummary(layer, sets, states)


def _set(graph: Graph, node: ExpertSet, own: SelfGate | None) -> SetRow:
    maker = graph[node.reads[0].node]
    gate = maker if isinstance(maker, FeatureGate) else None
    return SetRow(
        node=node.place,
        count=node.count,
        widths=node.widths,
        hidden_activation=node.hidden_activation,
        norm=node.norm,
        activation=node.activation,
        dropout=node.dropout,
        reads=", ".join(_read(graph, port) for port in node.reads),
        feature_gate=FeatureGateInfo(gate.loras, gate.rank, gate.mix) if gate else None,
        self_gate=own.widths if own else None,
        cost=cost_of(part for part in (node, gate, own) if part),
    )


def _state(graph: Graph, node: Mix) -> StateRow:
    gate = graph[node.gate.node]
    assert isinstance(gate, Gate)
    sets = [graph[port.node] for port in node.sets]
    places = [experts.place for experts in sets if isinstance(experts, ExpertSet)]
    return StateRow(
        node=node.place,
        width=node.width,
        mixes=dict(zip(places, node.counts, strict=True)),
        gate=gate.widths if gate.choices > 1 else (),
        gate_reads=("nothing",)
        if gate.is_static
        else tuple(_value(graph, port) for port in gate.reads),
        self_gates=tuple(places[residual.position] for residual in node.residuals),
        cost=cost_of([gate]),
    )


def _read(graph: Graph, port: Port) -> str:
    """The input of an expert, before its feature gate."""
    maker = graph[port.node]
    return _value(graph, maker.reads[0] if isinstance(maker, FeatureGate) else port)


def _value(graph: Graph, port: Port) -> str:
    """A short description of a gate's or set's input: v, a tree node's state, or its gated copy."""
    maker = graph[port.node]
    if isinstance(maker, Detached):
        return f"{_value(graph, maker.reads[0])} (detached)"
    if isinstance(maker, Columns):
        return ", ".join(maker.features)
    if not isinstance(maker, Placed):
        return "v"
    if isinstance(maker, Reading):
        node, _, path = maker.place.partition(".")
        return f"v of {node}{' and above' if path else ''}"
    return f"{maker.place} (gated)" if isinstance(maker, FeatureGate) else maker.place


def _tower(lowered: Lowered, node: Tower) -> TowerRow:
    task = lowered.spec.tasks[node.task]
    return TowerRow(
        task=node.task,
        kind=task.kind,
        label=task.label,
        where=task.where,
        weight=task.weight,
        rate=node.rate,
        widths=node.widths,
        norm=node.norm,
        activation=node.activation,
        dropout=node.dropout,
        cost=cost_of([node]),
    )


def _product(lowered: Lowered, node: Product) -> ProductRow:
    task = lowered.spec.tasks[node.task]
    return ProductRow(node.task, task.label, task.weight, node.factors)
