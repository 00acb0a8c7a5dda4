"""Stage 6, emit: the inputs, features by name -> v."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from homespec.emit.layout import (
    INDENT,
    LINE,
    Expr,
    Group,
    assign,
    call,
    lay,
    literal,
    mapping,
    packed,
    sequence,
    strings,
)
from homespec.emit.sequences import Events
from homespec.graph import Graph
from homespec.graph.nodes import INPUT, Batch, Feature, Input
from homespec.variant import Variant


def emit_features(graph: Graph, where: dict[str, str], variant: Variant) -> dict[str, Any]:
    """What `features.py.jinja` needs.

    `where` gives the line of the spec for each node.
    """
    features = {f.name: f for f in graph.of(Feature)}
    order = [features[name] for name in _input_order(graph) if name in features]
    tables = [n for n in graph if isinstance(n, Batch) and isinstance(n.members[0], Feature)]
    plain = not variant.optimize
    vectors = [feature for feature in order if feature.projected or feature.learned]
    events = Events(graph, plain, variant.inference)
    owned = [feature for name, feature in features.items() if name in events.own]
    keys = _boundary_keys([*order, *owned])
    looked_up = [feature for feature in order if feature.rows]
    sharing = [feature for feature in order if feature.table]
    whole = order if plain else [feature for feature in order if not feature.rows]
    values = [(feature, feature.short) for feature in looked_up]
    values += [(feature, key) for key, feature in events.look_ups.items()]
    wholes = [(feature, feature.short) for feature in whole]
    wholes += [(feature, key) for key, feature in events.look_ups.items() if plain]
    fitted = [f for f in [*order, *owned] if f.fitted and not f.table]
    context = {
        "plain": plain,
        "width": sum(node.width for node in graph.of(Input)),
        "uses": {_rows_of(f) for f in [*looked_up, *owned]}
        | ({"Table"} if tables else set())
        | ({"no_nan"} if any(f.source == "dense" for f in order) else set())
        | ({"Vector"} if vectors else set()),
        "projected": _how_many(f.projected for f in vectors),
        "learned": _how_many(f.learned for f in vectors),
        "sharing": bool(sharing),
        "fitted": packed("FITTED", mapping([(f.short, str(f.fitted)) for f in fitted]))
        if fitted
        else "",
        "fitted_buffers": _buffer_names(fitted, keys),
        "boundaries": [_packed(f, keys) for f in [*order, *owned] if f.boundaries and not f.table],
        "sizes": [packed(table.name.upper(), _sizes(table)) for table in tables],
        "tables": [_table(table, events, sharing) for table in tables],
        "embeddings": [
            _noted(f"self.{f.short} = ", _embedding(f, keys), 2, where[f.name])
            for f in looked_up
            if not f.table
        ],
        "vectors": _vectors(vectors, plain, where),
        "rows": [_entry(key, _row(f, key, keys), where[f.name]) for f, key in values],
        "parts": [_entry(key, _part(f, key, events), where[f.name]) for f, key in wholes],
        **events.context(
            lambda f, key: _looked_up(f, key, graph, events, keys), lambda f: _embedding(f, keys)
        ),
    }
    rows = [
        *(_logical_of_fitted(feature, keys) for feature in fitted),
        *events.logical,
        *(row for feature in vectors for row in _vector_rows(feature)),
    ]
    return context | {"logical": [] if plain else [_logical(*row) for row in rows]}


def _how_many(has: Iterable[bool]) -> str:
    """Which of the features have something: `all`, `some` or none of them, "" then."""
    found = set(has)
    return "all" if found == {True} else "some" if True in found else ""


def _input_order(graph: Graph) -> list[str]:
    """Names of the features in the order in which v concatenates them."""
    names = []
    for port in graph[INPUT].reads:
        node = graph[port.node]
        member = node.members[port.member or 0] if isinstance(node, Batch) else node
        names.append(member.name)
    return names


def _boundary_keys(features: list[Feature]) -> dict[str, str]:
    """What the boundaries of a feature are called, by its node: its name, made an identifier."""
    keys: dict[str, str] = {}
    for feature in features:
        key = feature.short.replace(".", "_")
        while key in keys.values():
            key += "_"
        keys[feature.name] = key
    return keys


def _buffer_names(fitted: list[Feature], keys: dict[str, str]) -> str:
    """A line with the names of fitted boundaries, in the order of FITTED; "" for its keys."""
    names = [keys[feature.name] for feature in fitted]
    if names == [feature.short for feature in fitted]:
        return ""
    return assign("names", strings(names), 2)


def _table(table: Batch, events: Events, sharing: list[Feature]) -> tuple[str, str]:
    """The name of a table and what makes it."""
    members = _members(table)
    make = call("table", str(members[0].width), table.name.upper())
    if events.all or sharing:
        held = {member.name: member.short for member in members}
        pairs = [(f.short, held[f.table]) for f in sharing if f.table in held]
        pairs += events.shared(held)
        shared = mapping([(key, literal(part)) for key, part in pairs])
        make = call("table", *make.args, shared)
    return table.name, assign(f"self.{table.name}", make, 2)


def _members(table: Batch) -> list[Feature]:
    return [member for member in table.members if isinstance(member, Feature)]


def _sizes(table: Batch) -> Group:
    return mapping([(m.short, str(m.rows)) for m in _members(table)])


def _logical(tensor: str, name: str) -> str:
    """A line of `Features.logical`: a tensor that has one logical name."""
    line = f"{INDENT * 2}yield {literal(tensor)}, {literal(name)}, ..."
    if len(line) <= LINE:
        return line
    return lay("yield ", sequence([literal(tensor), literal(name), "..."]), 2)


def _logical_of_fitted(feature: Feature, keys: dict[str, str]) -> tuple[str, str]:
    """Boundaries that are fitted to data are kept with the weights."""
    return f"{keys[feature.name]}_boundaries", f"features.{feature.short}.boundaries"


def _vectors(vectors: list[Feature], plain: bool, where: dict[str, str]) -> list[str]:
    """The modules of dense features: by name in the plain form, where nothing else is by name."""
    marked = _how_many(f.learned for f in vectors) == "some"
    made = {f: _vector(f, marked) for f in vectors}
    if plain:
        return [_noted(f"self.{f.short} = ", v, 2, where[f.name]) for f, v in made.items()]
    modules = mapping([(feature.short, vector) for feature, vector in made.items()])
    return [assign("self.vectors", call("nn.ModuleDict", modules), 2)] if vectors else []


def _vector(feature: Feature, marked: bool) -> Expr:
    """The module of a dense feature; `marked` says that not all have a learned vector."""
    options = [f"project={feature.width}"] if feature.projected else []
    options += ["learned=True"] if feature.learned and marked else []
    return call("Vector", str(feature.numbers), *options)


def _vector_rows(feature: Feature) -> list[tuple[str, str]]:
    """The weights of a dense feature in the optimised form, each with its whole name."""
    names = ["missing"] * feature.learned
    names += ["projection.weight", "projection.bias"] * feature.projected
    short = feature.short
    return [(f"vectors.{short}.{n}", f"features.{short}.{n}") for n in names]


def _packed(feature: Feature, keys: dict[str, str]) -> str:
    """An entry of BOUNDARIES, as many numbers a line as fit."""
    numbers = ", ".join(f"{boundary:g}" if _is_short(boundary) else repr(float(boundary))
                        for boundary in feature.boundaries)  # fmt: skip
    start = f"{INDENT}{literal(keys[feature.name])}: ["
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


def _entry(key: str, value: Expr, place: str) -> str:
    """An entry of a dict by feature, with the line of the spec that asks for it."""
    return _noted(f"{literal(key)}: ", value, 3, place, ",")


def _noted(prefix: str, value: Expr, depth: int, place: str, suffix: str = "") -> str:
    """A line with its place in the spec behind it, or above it where it is too long."""
    text = lay(prefix, value, depth, suffix)
    behind = f"{text}  # {place}"
    return behind if len(behind) <= LINE else f"{INDENT * depth}# {place}\n{text}"


def _row(feature: Feature, key: str, keys: dict[str, str]) -> Expr:
    """The row of each value, an index into the feature's part of its table."""
    value = f"features[{literal(key)}]"
    if feature.source != "bucketize":
        return call(_rows_of(feature), value, str(feature.rows - 1))
    return call("self.bucket", literal(keys[feature.owner]), value)


def _embedding(feature: Feature, keys: dict[str, str]) -> Expr:
    """The plain form's module: one embedding for each feature with a table."""
    if feature.fitted:
        return call("Fitted", f"FITTED[{literal(feature.short)}]", str(feature.width))
    if feature.source == "bucketize":
        boundaries = f"BOUNDARIES[{literal(keys[feature.name])}]"
        return call("Bucketized", boundaries, str(feature.width))
    kind = "Hashed" if feature.hashed else "Known"
    return call(kind, str(feature.rows - 1), str(feature.width))


def _part(feature: Feature, key: str, events: Events) -> Expr:
    """A feature's share of v, or a field of events, where no common table has it."""
    if feature.projected or feature.learned:
        module = f"self.{feature.short}" if events.plain else f"self.vectors[{literal(key)}]"
        return call(module, f"features[{literal(key)}]")
    if feature.source == "dense":
        return call("no_nan", f"features[{literal(key)}]")
    if feature.name in events.own:  # `self.history["long_view"]`
        sequence, _, field = feature.short.partition(".")
        return call(f"self.{sequence}[{literal(field)}]", f"features[{literal(key)}]")
    owner = feature.owner.removeprefix("features.")
    return call(f"self.{owner}", f"features[{literal(key)}]")


def _looked_up(
    feature: Feature, key: str, graph: Graph, events: Events, keys: dict[str, str]
) -> Expr:
    """The embeddings of values outside of the common look-up."""
    if events.plain:
        return _part(feature, key, events)
    table = next(n for n in graph if isinstance(n, Batch) and feature in n.members)
    return call(f"self.{table.name}.peek", literal(feature.short), _row(feature, key, keys))
