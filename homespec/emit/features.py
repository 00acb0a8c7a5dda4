"""Stage 6, emit: the inputs, features by name -> v."""

from __future__ import annotations

import textwrap
from typing import Any

from homespec.emit.block import Logical
from homespec.emit.layout import INDENT, LINE, Expr, Group, call, lay, literal, mapping, packed
from homespec.graph import INPUT, Batch, Feature, Graph


def emit_features(graph: Graph, where: dict[str, str]) -> tuple[dict[str, Any], list[Logical]]:
    """What `features.py.jinja` needs, and the logical names of the tables.

    `where` gives the line of the spec for each node.
    """
    features = {f.name: f for f in graph.of(Feature)}
    order = [features[name] for name in _input_order(graph)]
    tables = [n for n in graph if isinstance(n, Batch) and isinstance(n.members[0], Feature)]
    plain = not tables and any(f.rows for f in order)
    looked_up = [feature for feature in order if feature.rows]
    whole = order if plain else [feature for feature in order if not feature.rows]
    context = {
        "plain": plain,
        "width": sum(feature.width for feature in order),
        "uses": {_rows_of(f) for f in looked_up}
        | ({"Table"} if tables else set())
        | ({"no_nan"} if any(f.source == "dense" for f in order) else set()),
        "boundaries": [_packed(f) for f in order if f.boundaries],
        "sizes": [packed(table.name.upper(), _sizes(table)) for table in tables],
        "tables": [(table.name, _members(table)[0].width) for table in tables],
        "embeddings": [
            _noted(f"self.{_short(f)} = ", _embedding(f), 2, where[f.name]) for f in looked_up
        ],
        "rows": [_entry(f, _row(f), where[f.name]) for f in looked_up],
        "parts": [_entry(f, _part(f), where[f.name]) for f in whole],
    }
    return context, [_logical(table) for table in tables]


def _input_order(graph: Graph) -> list[str]:
    """Names of the features in the order in which v concatenates them."""
    names = []
    for port in graph[INPUT].reads:
        node = graph[port.node]
        member = node.members[port.member or 0] if isinstance(node, Batch) else node
        names.append(member.name)
    return names


def _short(feature: Feature) -> str:
    return feature.name.removeprefix("features.")


def _members(table: Batch) -> list[Feature]:
    return [member for member in table.members if isinstance(member, Feature)]


def _sizes(table: Batch) -> Group:
    return mapping([(_short(m), str(m.rows)) for m in _members(table)])


def _logical(table: Batch) -> Logical:
    """The parts of a table: one below the other, each as long as its feature's rows."""
    return Logical(f"features.{table.name}.weight", "features.{}.weight", table=table.name.upper())


def _packed(feature: Feature) -> str:
    """An entry of BOUNDARIES, as many numbers a line as fit."""
    numbers = ", ".join(f"{boundary:g}" if _is_short(boundary) else repr(float(boundary))
                        for boundary in feature.boundaries)  # fmt: skip
    start = f"{INDENT}{literal(_short(feature))}: ["
    return textwrap.fill(
        f"{numbers}],", 100, initial_indent=start, subsequent_indent=" " * len(start)
    )


def _is_short(number: float) -> bool:
    """Whether six digits say it exactly."""
    return float(f"{number:g}") == number


def _rows_of(feature: Feature) -> str:
    """The function that turns the raw feature into rows of its table."""
    if feature.source == "bucketize":
        return "bucket_rows"
    return "hash_rows" if feature.hashed else "known_rows"


def _entry(feature: Feature, value: Expr, place: str) -> str:
    """An entry of a dict by feature, with the line of the spec that asks for it."""
    return _noted(f"{literal(_short(feature))}: ", value, 3, place, ",")


def _module(feature: Feature, place: str) -> str:
    """The plain form's module of a feature."""
    return _noted(f"self.{_short(feature)} = ", _embedding(feature), 2, place)


def _noted(prefix: str, value: Expr, depth: int, place: str, suffix: str = "") -> str:
    """A line with its place in the spec behind it, or above it where it is too long."""
    text = lay(prefix, value, depth, suffix)
    behind = f"{text}  # {place}"
    return behind if len(behind) <= LINE else f"{INDENT * depth}# {place}\n{text}"


def _row(feature: Feature) -> Expr:
    """The row of each value, an index into the feature's part of its table."""
    name = literal(_short(feature))
    by = f"self.{_short(feature)}_boundaries" if feature.boundaries else str(feature.rows - 1)
    return call(_rows_of(feature), f"features[{name}]", by)


def _embedding(feature: Feature) -> Expr:
    """The plain form's module: one embedding for each feature."""
    if feature.source == "bucketize":
        return call("Bucketized", f"BOUNDARIES[{literal(_short(feature))}]", str(feature.width))
    kind = "Hashed" if feature.hashed else "Known"
    return call(kind, str(feature.rows - 1), str(feature.width))


def _part(feature: Feature) -> Expr:
    """A feature's share of v, where no common table has it."""
    name = literal(_short(feature))
    if feature.source == "dense":
        return call("no_nan", f"features[{name}]")
    return call(f"self.{_short(feature)}", f"features[{name}]")
