"""Stage 6, emit: the inputs, features by name -> v."""

from __future__ import annotations

from typing import Any

from homespec.emit.block import Logical
from homespec.emit.layout import Expr, assign, call, lay, literal, sequence
from homespec.graph import INPUT, Batch, Feature, Graph


def emit_features(graph: Graph, where: dict[str, str]) -> tuple[dict[str, Any], list[Logical]]:
    """What `features.py.jinja` needs, and the logical names of the tables.

    `where` gives the line of the spec for each node.
    """
    features = {f.name: f for f in graph.of(Feature)}
    order = [features[name] for name in _input_order(graph)]
    tables = [n for n in graph if isinstance(n, Batch) and isinstance(n.members[0], Feature)]
    plain = not tables and any(f.rows for f in order)
    init, forward, logical = [], [], []
    for feature in order:
        if plain and feature.rows:
            comment = f"  # {where[feature.name]}"
            init.append((f"self.{_short(feature)}", _embedding(feature), comment))
    for table in tables:
        members = [m for m in table.members if isinstance(m, Feature)]
        rows = sequence([str(m.rows) for m in members], "[]")
        init.append((f"self.{table.name}", call("Table", str(members[0].width), rows), ""))
        init += [_boundaries(m) for m in members if m.boundaries]
        forward += _look_up(table.name, members)
        logical.append(
            Logical(
                f"features.{table.name}.weight",
                "features.{}.weight",
                (tuple(_short(m) for m in members),),
                rows=tuple(m.rows for m in members),
            )
        )
    parts = [_part(feature, plain) for feature in order]
    whole: Expr = parts[0] if len(parts) == 1 else call("torch.cat", sequence(parts, "[]"), dim="1")
    lines = [assign(t, e, 2) for t, e in forward] + [lay("return ", whole, 2)]
    context = {
        "plain": plain,
        "width": sum(f.width for f in order),
        "uses": {_rows_of(f) for f in order if f.rows} | ({"Table"} if tables else set()),
        "init": "\n".join(assign(target, expr, 2) + note for target, expr, note in init),
        "forward": "\n".join(lines),
    }
    return context, logical


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


def _rows_of(feature: Feature) -> str:
    """The function that turns the raw feature into rows of its table."""
    if feature.source == "bucketize":
        return "bucket_rows"
    return "hash_rows" if feature.hashed else "known_rows"


def _boundaries(feature: Feature) -> tuple[str, Expr, str]:
    numbers = sequence([literal(float(b)) for b in feature.boundaries], "[]")
    exact = call("torch.tensor", numbers, dtype="torch.float64")
    name = literal(f"{_short(feature)}_boundaries")
    return ("", call("self.register_buffer", name, exact, persistent="False"), "")


def _embedding(feature: Feature) -> Expr:
    """The plain form's module: one embedding for each feature."""
    if feature.source == "bucketize":
        numbers = sequence([literal(float(b)) for b in feature.boundaries], "[]")
        return call("Bucketized", numbers, str(feature.width))
    kind = "Hashed" if feature.hashed else "Known"
    return call(kind, str(feature.rows - 1), str(feature.width))


def _look_up(table: str, members: list[Feature]) -> list[tuple[str, Expr]]:
    """One look-up for all features of one table."""
    rows: list[Expr] = []
    for member in members:
        raw = f"features[{literal(_short(member))}]"
        known = str(member.rows - 1)
        by = f"self.{_short(member)}_boundaries" if member.boundaries else known
        rows.append(call(_rows_of(member), raw, by))
    name = f"{table.replace('table', 'rows')}_BF"
    found = call("dict", call("zip", _names(members), f"self.{table}({name}).unbind(1)",
                              strict="True"))  # fmt: skip
    return [(name, call("torch.stack", sequence(rows, "[]"), dim="1")), (table, found)]


def _names(members: list[Feature]) -> Expr:
    return sequence([literal(_short(m)) for m in members])


def _part(feature: Feature, plain: bool) -> Expr:
    name = literal(_short(feature))
    if feature.source == "dense":
        return f"features[{name}].nan_to_num(nan=0.0)"
    if plain:
        return f"self.{_short(feature)}(features[{name}])"
    return f"table_{feature.width}[{name}]"
