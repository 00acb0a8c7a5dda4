"""Stage 1, source: applies the `dim` of a spec to features and fields of events without one.

It is written into them, with the place of the spec's `dim`, so that later stages see it.
"""

from __future__ import annotations

import dataclasses

from homespec.source.document import Document, Node, Value

MAX_DIM = 1_048_576
"""The values that the schema accepts."""
TABLES = ("id", "bucketize", "cross")
"""The kinds of features whose tables have their own width."""


def with_default_dim(document: Document) -> Document:
    """The document with the spec's `dim` in all entries that need one and have none."""
    data = document.data or {}
    features = data.get("features")
    if "dim" not in data or not isinstance(features, dict):
        return document
    dim = data["dim"] if _is_width(data["dim"]) else 1  # otherwise the schema reports the mistake
    filled, node = _filled(
        features, document.root.parts["features"], dim, document.root.parts["dim"]
    )
    root = dataclasses.replace(document.root, parts={**document.root.parts, "features": node})
    return dataclasses.replace(document, data={**data, "features": filled}, root=root)


def _is_width(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_DIM


def _filled(
    entries: dict[str, Value], node: Node, dim: Value, place: Node
) -> tuple[dict[str, Value], Node]:
    """Features, or fields of events, with missing `dim` filled in."""
    data, parts = dict(entries), dict(node.parts)
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            continue
        if any(kind in entry for kind in TABLES) and "dim" not in entry:
            data[name] = {**entry, "dim": dim}
            parts[name] = _with_part(parts[name], "dim", place)
            continue
        sequence = entry.get("sequence")
        own = sequence.get("with") if isinstance(sequence, dict) else None
        if isinstance(sequence, dict) and isinstance(own, dict):
            of_events = parts[name].parts["sequence"]
            fields, below = _filled(own, of_events.parts["with"], dim, place)
            data[name] = {**entry, "sequence": {**sequence, "with": fields}}
            of_events = _with_part(of_events, "with", below)
            parts[name] = _with_part(parts[name], "sequence", of_events)
    return data, dataclasses.replace(node, parts=parts)


def _with_part(node: Node, key: str, part: Node) -> Node:
    parts: dict[str | int, Node] = {**node.parts, key: part}
    return dataclasses.replace(node, parts=parts)
