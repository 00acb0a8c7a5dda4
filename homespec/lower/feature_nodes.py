"""Stage 4, lower: the nodes of features and sequences, and their concatenation v."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, TypedDict

from homespec.diagnostics import Span
from homespec.graph import Graph
from homespec.graph import sequences as nodes
from homespec.graph.feature_nodes import INPUT, Feature, Input, Reading
from homespec.graph.nodes import Port
from homespec.lower.initial import starts
from homespec.lower.states import State
from homespec.resolve import Resolved
from homespec.resolve.places import nearest, placed
from homespec.resolve.tree import Role, TreeNode, nesting
from homespec.schema.input_tensors import event_column, event_key, event_values
from homespec.schema.models import Encoder, Sequence, Sim, Spec, Twin
from homespec.schema.models import Feature as FeatureConfig
from homespec.schema.sequences import EventField


class Pooled(TypedDict):
    """The fields of a node that describe lists."""

    length: int
    pool: Literal["", "mean", "sum", "max"]
    weighted: bool


def add_features(graph: Graph, resolved: Resolved) -> dict[str, State]:
    """Add the features and what nodes of the tree read of them; return that by node.

    The root has v. Nodes that are not in the result read what the next node above them reads.
    """
    spec, root = resolved.spec, resolved.root
    places = {name: placed(feature, root) for name, feature in spec.features.items()}
    for name, feature in _owners_first(spec):
        if feature.kind == "sequence":
            _add_sequence(graph, resolved, name, places[name][0].name)
            continue
        node = _feature(graph, name, feature, resolved.span(("features", name)))
        node = dataclasses.replace(node, dropout=spec.dropout_of(name))
        for place in places[name]:
            full = _node_name(name, place, places[name])
            graph.add(dataclasses.replace(node, name=full, place=place.name))
    below = [node for node in root.walk() if node is not root]
    own = [node for node in below if any(node in found for found in places.values())]
    return {node.name: _add_reading(graph, resolved, node, places) for node in (root, *own)}


def _node_name(name: str, place: TreeNode, places: tuple[TreeNode, ...]) -> str:
    """The name of a feature, or of one of its several tables."""
    return f"features.{name}.{place.name}" if len(places) > 1 else f"features.{name}"


def _add_reading(
    graph: Graph, resolved: Resolved, node: TreeNode, places: dict[str, tuple[TreeNode, ...]]
) -> State:
    """Add the concatenation of the features that a node reads, each from the nearest place."""
    found = {name: nearest(node, at) for name, at in places.items()}
    ports = tuple(
        Port(_node_name(name, place, places[name])) for name, place in found.items() if place
    )
    span = resolved.span(("features",))
    return add_reading(graph, node, nesting(resolved.root) + 1, ports, span, tuple(places))


def add_reading(
    graph: Graph, node: TreeNode, depth: int, ports: tuple[Port, ...], span: Span,
    order: tuple[str, ...] = (), place: str = "",
) -> State:  # fmt: skip
    """Add the concatenation of features that a node reads; `depth` is the level of the tasks.

    The one of the root is v. `order` are all features of the spec.
    """
    read = [graph[port.node] for port in ports]
    width = sum(each.width for each in read if isinstance(each, Feature | nodes.Sequence))
    if node.parent is None:
        alone = [each.name for each in read] == [f"features.{name}" for name in order]
        v = Input(name=INPUT, reads=ports, span=span, width=width, order=() if alone else order)
        return State((graph.add(v),), width)
    place = place or node.name
    reading = Reading(
        name=f"readings.{place}", reads=ports, span=span, width=width, layer="", place=place,
        level=depth if node.role is Role.TASK else node.depth, parent=node.parent.name,
    )  # fmt: skip
    return State((graph.add(reading),), width)


def _owners_first(spec: Spec) -> list[tuple[str, FeatureConfig]]:
    """The features, ordered so that a shared table precedes its other users."""
    last = ("table", "sequence")
    return sorted(spec.features.items(), key=lambda item: item[1].kind in last)


def _feature(graph: Graph, name: str, feature: FeatureConfig, span: Span) -> Feature:
    full = f"features.{name}"
    if feature.kind == "table":
        owner = graph[f"features.{feature.table}"]
        assert isinstance(owner, Feature)
        return dataclasses.replace(
            owner, name=full, short=name, reads=(Port(owner.name),), span=span,
            column=feature.column, table=owner.name, **_pooled(feature),
        )  # fmt: skip
    assert feature.kind != "sequence"
    return Feature(
        name=full,
        short=name,
        span=span,
        source=feature.kind,
        column=feature.column,
        width=feature.width,
        rows=feature.rows,
        hashed=feature.kind == "id" and bool(feature.id.buckets),
        texts=feature.id.texts if feature.kind == "id" else (),
        words=feature.id.words if feature.kind == "id" else 0,
        boundaries=feature.boundaries,
        numbers=feature.dense,
        projected=feature.project > 0,
        learned=feature.missing == "learned",
        fitted=max(0, feature.quantiles - 1),
        scale=feature.scale,
        crossed=feature.cross.of if feature.kind == "cross" else (),
        **_pooled(feature),
    )


def _pooled(feature: FeatureConfig) -> Pooled:
    """The attributes of a list feature."""
    if not feature.is_list:
        return Pooled(length=0, pool="", weighted=False)
    options = feature.list
    return Pooled(length=options.max_len, pool=options.pool, weighted=bool(options.weights))


def _add_sequence(graph: Graph, resolved: Resolved, name: str, place: str) -> None:
    """The node of a sequence. The features that it shares with the candidate may follow it."""
    spec = resolved.spec
    sequence = spec.features[name].sequence
    path = ("features", name, "sequence", "with")
    for field, own in sequence.with_.items():
        if not own.table:
            graph.add(_table(name, sequence, field, own, resolved.span((*path, field))))
    fields = [_field(spec, name, field) for field in sequence.fields]
    query = sum(field.width for field in fields[: len(sequence.of)])
    event = sum(field.width for field in fields)
    node = nodes.Sequence(
        name=f"features.{name}",
        short=name,
        reads=tuple(Port(field.table) for field in fields),
        span=resolved.span(("features", name)),
        fields=tuple(fields),
        shared=len(sequence.of),
        max_len=sequence.max_len,
        dropout=spec.dropout_of(name),
        encoder=_encoder(spec, sequence.encoder, query, event),
        place=place,
    )
    graph.add(node)


def _attention_width(options: Sim | Twin, query: int) -> int:
    """Total width of all heads: the option, or the candidate's width rounded up to a multiple."""
    return options.width or math.ceil(query / options.heads) * options.heads


def _field(spec: Spec, name: str, field: str) -> nodes.EventField:
    sequence = spec.features[name].sequence
    key, own = event_key(name, field), sequence.with_.get(field)
    table = spec.owner(field) if own is None else own.table or key
    width = own.width if own is not None and not own.table else 0
    width = width or event_values(spec, sequence, field).dim
    return nodes.EventField(field, key, f"features.{table}", width, own=table == key)


def _table(name: str, sequence: Sequence, field: str, own: EventField, span: Span) -> Feature:
    assert own.kind != "table"
    return Feature(
        name=f"features.{event_key(name, field)}",
        short=event_key(name, field),
        span=span,
        source=own.kind,
        column=event_column(name, sequence, field),
        width=own.width,
        rows=own.rows,
        numbers=own.dense,
        hashed=own.kind == "id" and bool(own.id.buckets),
        texts=own.id.texts if own.kind == "id" else (),
        words=own.id.words if own.kind == "id" else 0,
        boundaries=own.boundaries,
        fitted=max(0, own.quantiles - 1),
    )


def _encoder(spec: Spec, encoder: Encoder, query: int, event: int) -> nodes.Encoder:
    match encoder.kind:
        case "mean":
            return nodes.Mean()
        case "din":
            din = encoder.din
            statistics = (din.norm_eps, din.norm_momentum)
            first = starts(spec, len(din.hidden), din.activation)
            return nodes.Din(din.hidden, din.activation, din.softmax, *statistics, first)
        case "dien":
            return nodes.Dien(encoder.dien.width or event)
        case "sim":
            sim = encoder.sim
            return nodes.Sim(sim.by, sim.top, sim.heads, _attention_width(sim, query))
        case "twin":
            twin = encoder.twin
            return nodes.Twin(twin.top, twin.heads, _attention_width(twin, query))
