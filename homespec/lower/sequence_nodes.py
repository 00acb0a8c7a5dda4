"""Stage 3, lower: a sequence feature becomes a node, and tables of what only events have."""

from __future__ import annotations

import math

from homespec.diagnostics import Span
from homespec.graph import Graph
from homespec.graph import sequences as nodes
from homespec.graph.nodes import Feature, Port
from homespec.schema.models import Encoder, Sequence, Sim, Spec, Twin
from homespec.schema.sequences import EventField
from homespec.schema.tensors import event_column, event_key, event_values
from homespec.source import Document


def add_sequence(graph: Graph, spec: Spec, document: Document, name: str) -> nodes.Sequence:
    """The node of a sequence; the features that it shares with the candidate follow or precede."""
    sequence = spec.features[name].sequence
    path = ("features", name, "sequence", "with")
    for field, own in sequence.with_.items():
        if not own.table:
            graph.add(_table(name, sequence, field, own, document.span((*path, field))))
    fields = [_field(spec, name, field) for field in sequence.fields]
    query = sum(field.width for field in fields[: len(sequence.of)])
    event = sum(field.width for field in fields)
    node = nodes.Sequence(
        name=f"features.{name}",
        reads=tuple(Port(field.table) for field in fields),
        span=document.span(("features", name)),
        fields=tuple(fields),
        shared=len(sequence.of),
        max_len=sequence.max_len,
        encoder=_encoder(sequence.encoder, query, event),
    )
    graph.add(node)
    return node


def _attention_width(options: Sim | Twin, query: int) -> int:
    """Width of all heads together: the option, or the candidate's width, made divisible."""
    return options.width or math.ceil(query / options.heads) * options.heads


def _field(spec: Spec, name: str, field: str) -> nodes.EventField:
    sequence = spec.features[name].sequence
    key, own = event_key(name, field), sequence.with_.get(field)
    table = spec.owner(field) if own is None else own.table or key
    width = event_values(spec, sequence, field).dim
    return nodes.EventField(field, key, f"features.{table}", width)


def _table(name: str, sequence: Sequence, field: str, own: EventField, span: Span) -> Feature:
    assert own.kind != "table"
    return Feature(
        name=f"features.{event_key(name, field)}",
        span=span,
        source=own.kind,
        column=event_column(name, sequence, field),
        width=own.dim,
        rows=own.rows,
        hashed=own.kind == "id" and bool(own.id.buckets),
        boundaries=own.boundaries,
        fitted=max(0, own.quantiles - 1),
    )


def _encoder(encoder: Encoder, query: int, event: int) -> nodes.Encoder:
    match encoder.kind:
        case "mean":
            return nodes.Mean()
        case "din":
            din = encoder.din
            statistics = (din.norm_eps, din.norm_momentum)
            return nodes.Din(din.hidden, din.activation, din.softmax, *statistics)
        case "dien":
            return nodes.Dien(encoder.dien.width or event)
        case "sim":
            sim = encoder.sim
            return nodes.Sim(sim.by, sim.top, sim.heads, _attention_width(sim, query))
        case "twin":
            twin = encoder.twin
            return nodes.Twin(twin.top, twin.heads, _attention_width(twin, query))
