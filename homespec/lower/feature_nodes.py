"""Stage 4, lower: the nodes of features and sequences, and their concatenation v."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, TypedDict

from homespec.diagnostics import Span
from homespec.graph import Graph
from homespec.graph import sequences as nodes
from homespec.graph.nodes import INPUT, Feature, Input, Port
from homespec.lower.initial import starts
from homespec.resolve import Resolved
from homespec.schema.input_tensors import event_column, event_key, event_values
from homespec.schema.models import Encoder, Sequence, Sim, Spec, Twin
from homespec.schema.models import Feature as FeatureConfig
from homespec.schema.sequences import EventField


class Pooled(TypedDict):
    """The fields of a node that describe lists."""

    length: int
    pool: Literal["", "mean", "sum", "max"]
    weighted: bool


def add_features(graph: Graph, resolved: Resolved) -> int:
    """Add the features and their concatenation v; return the width of v."""
    spec, width = resolved.spec, 0
    for name, feature in _owners_first(spec):
        if feature.kind == "sequence":
            width += _add_sequence(graph, resolved, name).width
            continue
        node = _feature(graph, name, feature, resolved.span(("features", name)))
        node = dataclasses.replace(node, dropout=spec.dropout_of(name))
        width += node.width
        graph.add(node)
    ports = tuple(Port(f"features.{name}") for name in spec.features)
    graph.add(Input(name=INPUT, reads=ports, span=resolved.span(("features",)), width=width))
    return width


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
        **_pooled(feature),
    )


def _pooled(feature: FeatureConfig) -> Pooled:
    """The attributes of a list feature."""
    if not feature.is_list:
        return Pooled(length=0, pool="", weighted=False)
    options = feature.list
    return Pooled(length=options.max_len, pool=options.pool, weighted=bool(options.weights))


def _add_sequence(graph: Graph, resolved: Resolved, name: str) -> nodes.Sequence:
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
    )
    graph.add(node)
    return node


def _attention_width(options: Sim | Twin, query: int) -> int:
    """Total width of all heads: the option, or the candidate's width rounded up to a multiple."""
    return options.width or math.ceil(query / options.heads) * options.heads


def _field(spec: Spec, name: str, field: str) -> nodes.EventField:
    sequence = spec.features[name].sequence
    key, own = event_key(name, field), sequence.with_.get(field)
    table = spec.owner(field) if own is None else own.table or key
    width = event_values(spec, sequence, field).dim
    return nodes.EventField(field, key, f"features.{table}", width, own=table == key)


def _table(name: str, sequence: Sequence, field: str, own: EventField, span: Span) -> Feature:
    assert own.kind != "table"
    return Feature(
        name=f"features.{event_key(name, field)}",
        short=event_key(name, field),
        span=span,
        source=own.kind,
        column=event_column(name, sequence, field),
        width=own.dim,
        rows=own.rows,
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
