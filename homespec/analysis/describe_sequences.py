"""A description of the sequences of a graph: their events, their target and their encoder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature
from homespec.graph.sequences import Dien, Din, EventField, Mean, Sequence, Sim, Twin

TITLES = {Mean: "mean", Din: "DIN", Dien: "DIEN", Sim: "SIM", Twin: "TWIN"}


def describe_sequences(graph: Graph) -> Iterator[str]:
    """The events, the target and the stages of the encoder of each sequence."""
    for node in graph.of(Sequence):
        over = f"{TITLES[type(node.encoder)]} of the latest {node.max_len} events"
        yield f"sequence {node.short}: {over}, {node.width} wide"
        yield f"  event, {node.event_width} wide: {_event(graph, node)}"
        if not isinstance(node.encoder, Mean):
            names = " ⊕ ".join(field.name for field in node.fields[: node.shared])
            yield f"  target, {node.query_width} wide: the candidate's {names}"
        yield from (f"  {line}" for line in _stages(node))


def _event(graph: Graph, node: Sequence) -> str:
    """The fields with their widths, beginning with those that the candidate shares."""
    shared, own = node.fields[: node.shared], node.fields[node.shared :]
    parts = [f"{_widths(shared)} as the candidate has"]
    for kind, fields in groupby(own, key=lambda field: _kind(graph, field)):
        parts.append(f"{_widths(fields)} {kind}")
    return "; ".join(parts)


def _widths(fields: Iterator[EventField] | tuple[EventField, ...]) -> str:
    return ", ".join(f"{field.name} {field.width}" for field in fields)


def _kind(graph: Graph, field: EventField) -> str:
    """Where a field that only events have is looked up."""
    table = graph[field.table]
    assert isinstance(table, Feature)
    if table.source == "dense":
        return "as vectors of the data"
    if table.short != field.key:
        return f"in the table of {table.short}"
    return "in tables of their own"


def _stages(node: Sequence) -> Iterator[str]:
    """The steps of the encoder, one line each."""
    q, event = node.query_width, node.event_width
    match node.encoder:
        case Mean():
            yield "no target: every event counts the same"
        case Din(hidden=hidden, activation=activation, softmax=softmax):
            unit = "→".join(map(str, (3 * q + event, *hidden, 1)))
            inside = f" with {activation}" if hidden else ""
            sums = "normalised by a softmax" if softmax else "not normalised"
            yield f"weights of the events: attention unit {unit}{inside}, {sums}"
        case Dien(width=width):
            yield f"stage 1: GRU {event}→{width} over the events"
            yield f"stage 2: attention of the target over its states, AUGRU {width}→{width}"
        case Sim(by=by, top=top, heads=heads, width=width):
            hard = f"the latest {top} with the candidate's {by} (hard search)"
            soft = f"the {top} nearest the target by inner product (soft search)"
            yield f"stage 1: {hard if by else soft}"
            yield f"stage 2: attention over them, {_heads(heads, width)}, {event} wide each"
        case Twin(top=top, heads=heads, width=width):
            yield f"stage 1: the {top} of highest attention score"
            yield f"stage 2: the same attention over them, {_heads(heads, width)}"


def _heads(heads: int, width: int) -> str:
    noun = "head" if heads == 1 else "heads"
    return f"{heads} {noun} with queries and keys of {width // heads}"
