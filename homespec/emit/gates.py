"""Stage 7, emit: gates of all kinds, and the projections for their logits and low ranks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from homespec.emit.block import Block, Head, Joined, Value
from homespec.emit.layout import Each, Expr, Group, call, flat, sequence, then
from homespec.emit.naming import VARIABLES, members_of, places_of
from homespec.emit.scope import Scope
from homespec.emit.stacks import BARE, SPLIT_BARE, is_split, mlps
from homespec.graph.nodes import (
    Batch,
    FeatureGate,
    FusedFeatureGate,
    Gate,
    Placed,
    Projection,
    Section,
    SelfGate,
)

ATTRIBUTES = {"down": "downs", "hidden": "hiddens", "gate": "gates", "self_gate": "self_gates"}
"""The classes for projections with a single purpose."""
PATTERNS = {
    "down": "feature_gates.{layer}.{{}}.loras.{{}}.down",
    "hidden": "feature_gates.{layer}.{{}}.loras.{{}}.down",
    "router": "feature_gates.{layer}.{{}}.router",
    "gate": "gates.{layer}.{{}}.linears.0",
    "self_gate": "self_gates.{layer}.{{}}.linears.0",
}
"""The logical names of the Linears that are parts of a projection."""
WEIGH = {"softmax": ".softmax(1)", "sigmoid": ".sigmoid()", "none": ""}
"""Functions that turn logits [M, C, B] into weights."""
ROOM = 88
"""Maximum length of a statement on a line of a forward."""
LONG = 60
"""An input that is longer than this gets its own line."""


@dataclass(frozen=True, slots=True)
class Part:
    """A section of a batch of projections, as code: its purpose, its variable and its Linears.

    `suffix` distinguishes it from others with the same purpose. There are `each` Linears for each
    of the `places`, with names of the form `pattern` and `rows` rows.
    """

    purpose: str
    suffix: str
    value: Value
    pattern: str
    places: tuple[str, ...]
    each: int
    rows: int


def emit_projections(batch: Batch, scope: Scope) -> Block:
    """One wide product for each value, and its parts as variables by purpose."""
    members, first = members_of(batch, Projection)
    read = scope.concatenated([m.reads for m in members])
    parts = [_part(batch, first, position, scope) for position in range(len(first.sections))]
    if isinstance(batch, Joined):
        make, uses = _join(batch, parts, scope)
    elif len(parts) == 1 or all(part.purpose == "down" for part in parts):
        return _linears(batch, first.width, parts, read, scope)
    else:
        make, uses = _projections(batch, parts, scope)
    module = scope.module(batch)
    forward, read = _read(read, scope)
    names = [part.value.name for part in parts]
    forward += _unpacked(names, call(module, read), scope, scope.naming.suffix(batch))
    return Block(batch, init=[(module, make)], forward=forward, uses=uses)


def _projections(batch: Batch, parts: list[Part], scope: Scope) -> tuple[Expr, set[str]]:
    """The module of projections of equal groups, and the block that it uses."""
    sections = [sequence([_names(part, scope), str(part.rows)]) for part in parts]
    return _module(str(len(batch.members)), batch, parts, sections, scope)


def _module(
    inputs: str, batch: Batch, parts: list[Part], sections: list[Group], scope: Scope
) -> tuple[Expr, set[str]]:
    _, first = members_of(batch, Projection)
    shape = sequence([inputs, str(first.width)])
    if not scope.naming.any_down:
        uses = {"gates.Projections__logits"}
        options: dict[str, Expr] = {}
    else:
        uses = {"gates.Projections"}
        options = {"unbiased": str(sum(part.purpose == "down" for part in parts))}
    if not is_split(first):
        return call("Projections", shape, *sections, **options), uses
    form = "" if options else "__logits"
    return call("SplitProjections", shape, *sections, **options), uses | {
        f"gates.SplitProjections{form}"
    }


def _join(batch: Joined, parts: list[Part], scope: Scope) -> tuple[Expr, set[str]]:
    """One module of projections for each run of equal groups, and the blocks that it uses."""
    lists: dict[tuple[tuple[str, ...], ...], str] = {}
    sections = []
    for position, part in enumerate(parts):
        places = _places_by_run(batch, position, scope)
        name = (
            "tasks" if {p for run in places for p in run} <= set(scope.naming.tasks) else "groups"
        )
        while places not in lists and name in {*scope.taken, *lists.values()}:
            name += "_"
        variable = lists.setdefault(places, name)
        sections.append(sequence([_names(part, scope, variable), str(part.rows)]))
    single = set(batch.runs) == {1}
    made, uses = _module("1" if single else "inputs", batch, parts, sections, scope)
    columns = [[scope.naming.nodes(run) for run in places] for places in lists]
    if not single:
        columns.insert(0, [str(count) for count in batch.runs])
    names = [*(["inputs"] if not single else []), *lists.values()]
    rows = [sequence(row) if len(row) > 1 else row[0] for row in zip(*columns, strict=True)]
    each = Each(made, ", ".join(names), sequence(rows))
    return call("JoinedProjections", each), uses | {"gates.JoinedProjections"}


def _places_by_run(batch: Joined, position: int, scope: Scope) -> tuple[tuple[str, ...], ...]:
    """The places of the nodes that read a section, for each run of members."""
    found, start = [], 0
    for count in batch.runs:
        run = replace(batch, members=batch.members[start : start + count])
        found.append(places_of(scope.naming.consumers(run, position)))
        start += count
    return tuple(found)


def _names(part: Part, scope: Scope, variable: Expr | None = None) -> Expr:
    """The logical names of a section's Linears, for its nodes or for those in a variable."""
    return scope.named(part.pattern, part.places, part.each, variable)


def _part(batch: Batch, first: Projection, position: int, scope: Scope) -> Part:
    """A section; adds its part for each node to the values of the trunk."""
    section = first.sections[position]
    nodes = scope.naming.consumers(batch, position)
    each = section.loras if section.purpose == "down" else 1
    pattern = PATTERNS[section.purpose].format(layer=nodes[0].layer)
    suffix = _suffix(section, nodes, first, scope)
    name = scope.fresh(section.purpose + suffix)
    value = Value(scope.name, name, len(nodes) * each, f"{name}_of_{scope.name}")
    for i, node in enumerate(nodes):
        scope.values.heads[section.purpose, node.name] = Head(value, i * each, each)
    rows = section.width // each
    return Part(section.purpose, suffix, value, pattern, places_of(nodes), each, rows)


def _linears(batch: Batch, width: int, parts: list[Part], read: Expr, scope: Scope) -> Block:
    """Projections for one purpose are Linears, whose product is computed when it is first read."""
    split = is_split(batch.members[0])
    block = Block(batch, uses={"stacks.Linears", *(["stacks.SplitLinears"] if split else [])})
    if len(parts) > 1 or len(flat(read)) > LONG:
        block.forward, read = _read(read, scope)
    for part in parts:
        module = scope.attribute(ATTRIBUTES[part.purpose] + part.suffix)
        options: dict[str, Expr] = {}
        if part.purpose == "down":
            options["bias"] = "False"
            block.uses |= SPLIT_BARE if split else BARE
        shape = (str(width), str(part.rows))
        make = call(f"{'Split' * split}Linears", _names(part, scope), *shape, **options)
        block.init.append((module, make))
        scope.pending[part.value] = call(module, read)
    return block


def _read(read: Expr, scope: Scope) -> tuple[list[tuple[str, Expr]], Expr]:
    """The input as an argument or, if it is long, as a variable that is set before."""
    if len(flat(read)) <= LONG:
        return [], read
    reads = scope.fresh("reads")
    return [(reads, read)], reads


def _suffix(section: Section, nodes: list[Placed], projection: Projection, scope: Scope) -> str:
    """Distinguishes parts with the same purpose by nodes, and by the layer if it is another one."""
    several = scope.naming.sections[section.purpose, nodes[0].layer] > 1
    suffix = f"_{scope.naming.label(nodes)}" if several else ""
    return suffix if nodes[0].layer == projection.layer else f"_{nodes[0].layer}{suffix}"


def _unpacked(names: list[str], made: Group, scope: Scope, suffix: str) -> list[tuple[str, Expr]]:
    """`down, router = self.projections(x)`, on several lines if it is too long for one."""
    if len(names) == 1:
        return [(f"({names[0]},)", made)]
    if len(flat(Group(", ".join(names), (made,)))) <= ROOM:
        return [(", ".join(names), made)]
    heads = scope.fresh(f"heads{suffix}")
    lines: list[tuple[str, Expr]] = [(heads, made)]
    start, room = 0, ROOM - len(f" = {heads}[00:00]")
    while start < len(names):
        end = start + 1
        while end < len(names) and len(", ".join(names[start : end + 1])) <= room:
            end += 1
        part = f"[{start}:{end}]" if end > start + 1 else f"[{start}]"
        part = "" if end - start == len(names) else part
        lines.append((", ".join(names[start:end]), heads + part))
        start = end
    return lines


def emit_feature_gates(batch: Batch, scope: Scope) -> Block:
    """Feature gates on their inputs; their low ranks and routers come from projections."""
    members, first = members_of(batch, FeatureGate)
    module = scope.module(batch)
    kind = "OfLogits" if first.mix == "before_sigmoid" else ""
    cls = f"FeatureGates{kind}" if first.loras > 1 else "SingleFeatureGates"
    if isinstance(first, FusedFeatureGate):
        cls = f"Fused{cls}"
    if first.activation != "none":
        cls = "MLPFeatureGates"
    names = scope.named(
        f"feature_gates.{first.layer}.{{}}.loras.{{}}", places_of(members), first.loras
    )
    make = call(cls, names, str(first.width), rank=str(first.rank))
    read = scope.inputs([m.reads[:1] for m in members])
    if len({m.reads[0] for m in members}) > 1:
        read = scope.stacked([m.reads[0] for m in members])
    purposes = ("down", "router") if first.loras > 1 else ("down",)
    purposes = purposes if first.activation == "none" else ("hidden",)
    forward: list[tuple[str, Expr]] = []
    arguments = {"x": read}
    for purpose in purposes:
        more, arguments[purpose] = scope.parts_of_projections(purpose, [m.name for m in members])
        forward += more
    for argument, expr in arguments.items():
        if not isinstance(expr, str):
            name = scope.fresh(argument)
            arguments[argument] = name
            forward.append((name, expr))
    name = scope.define(batch.name, "gated" + scope.naming.suffix(batch), len(members))
    forward.append((name, call(module, *arguments.values())))
    uses = {f"gates.{cls}"}
    if isinstance(first, FusedFeatureGate):
        uses = {"kernels.register_gates", f"kernels.{cls}"}
    return Block(batch, init=[(module, make)], forward=forward, uses=uses)


def emit_gates(batch: Batch, scope: Scope) -> Block:
    """Mixture or self gates: weights from logits, which come from projections or MLPs."""
    members, first = members_of(batch, Gate)
    weigh = WEIGH[first.squash]
    purpose = "self_gate" if isinstance(first, SelfGate) else "gate"
    if first.is_static:
        return _static_gates(batch, members, scope, weigh)
    if (purpose, first.name) not in scope.values.heads:
        return _deep_gates(batch, members, scope, weigh)
    nodes = [m.name for m in members]
    value = scope.whole_value(purpose, nodes)
    if value is not None:  # weights replace logits under the same name
        logits = scope.pending.pop(value, scope.variable(value))
        name = scope.variable(value)
        scope.values.of_node[batch.name] = Value(scope.name, name, len(members))
        return Block(batch, forward=[(name, then(logits, weigh))])
    forward, logits = scope.parts_of_projections(purpose, nodes)
    name = scope.define(batch.name, _target(batch, scope), len(members))
    return Block(batch, forward=[*forward, (name, then(logits, weigh))])


def _target(batch: Batch, scope: Scope) -> str:
    """The name of the weights of gates."""
    return VARIABLES[type(batch.members[0])] + scope.naming.suffix(batch)


def _static_gates(batch: Batch, members: list[Gate], scope: Scope, weigh: str) -> Block:
    """Gates without inputs are parameters, which are the same for all rows."""
    first = members[0]
    module = scope.module(batch)
    kind, cls = ("gates", "StaticGates")
    if isinstance(first, SelfGate):
        kind, cls = ("self_gates", "StaticSelfGates")
    names = scope.named(f"{kind}.{first.layer}.{{}}", places_of(members))
    make = call(cls, names, str(first.choices))
    name = scope.define(batch.name, _target(batch, scope), len(members))
    return Block(
        batch,
        init=[(module, make)],
        forward=[(name, Group(module, (), tail=weigh))],
        uses={f"gates.{cls}"},
    )


def _deep_gates(batch: Batch, members: list[Gate], scope: Scope, weigh: str) -> Block:
    """Gates with hidden layers are MLPs."""
    first = members[0]
    module = scope.module(batch)
    kind = "self_gates" if isinstance(first, SelfGate) else "gates"
    names = scope.named(f"{kind}.{first.layer}.{{}}", places_of(members))
    make, uses = mlps(names, first, scope.naming.graph)
    forward, read = _read(scope.inputs([m.reads for m in members]), scope)
    name = scope.define(batch.name, _target(batch, scope), len(members))
    forward.append((name, Group(module, (read,), tail=weigh)))
    return Block(batch, init=[(module, make)], forward=forward, uses=uses)
