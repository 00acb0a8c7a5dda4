"""Stage 6, emit: gates of all kinds, and the projections that make their logits and low ranks."""

from __future__ import annotations

from homespec.emit.block import Block, Head, Value
from homespec.emit.layout import Expr, Group, call, flat, sequence, then
from homespec.emit.naming import VARIABLES, members_of, places_of
from homespec.emit.scope import Scope
from homespec.emit.stacks import mlps, mlps_uses
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

HEADS = {"down": "down", "router": "router", "gate": "gate", "self_gate": "self_gate"}
"""The variables of a projection's parts by purpose."""
PATTERNS = {
    "down": "feature_gates.{layer}.{{}}.loras.{{}}.down",
    "router": "feature_gates.{layer}.{{}}.router",
    "gate": "gates.{layer}.{{}}.linears.0",
    "self_gate": "self_gates.{layer}.{{}}.linears.0",
}
"""The logical names of the Linears that are parts of a projection."""
ROOM = 88
"""Characters of a statement that fit on a line of a forward."""
LONG = 60
"""What is read is a line of its own beyond this many characters."""


def emit_projections(batch: Batch, scope: Scope) -> Block:
    """One wide product for each value, and its parts as variables by purpose."""
    members, first = members_of(batch, Projection)
    module = scope.module(batch)
    groups: dict[str, list[Expr]] = {"down": [], "logits": []}
    read = scope.concatenated([m.reads for m in members])
    names: list[str] = []
    for position, section in enumerate(first.sections):
        nodes = scope.naming.consumers(batch, position)
        layer = nodes[0].layer
        each = section.loras if section.purpose == "down" else 1
        pattern = PATTERNS[section.purpose].format(layer=layer)
        linears = scope.named(pattern, places_of(nodes), each)
        kind = "down" if section.purpose == "down" else "logits"
        groups[kind].append(sequence([linears, str(section.width // each)]))
        name = scope.fresh(HEADS[section.purpose] + _suffix(section, nodes, first, scope))
        value = Value(scope.name, name, len(nodes) * each, f"{name}_of_{scope.name}")
        for i, node in enumerate(nodes):
            scope.values.heads[section.purpose, node.name] = Head(value, i * each, each)
        names.append(name)
    options = {"inputs": str(len(members))} if len(members) > 1 else {}
    lists = {kind: sequence(parts, "[]") for kind, parts in groups.items() if parts}
    make = call("Projections", str(first.width), **lists, **options)
    forward: list[tuple[str, Expr]] = []
    if len(flat(read)) > LONG:
        forward.append((reads := scope.fresh("reads"), read))
        read = reads
    forward += _unpacked(names, call(module, read), scope, scope.naming.suffix(batch))
    return Block(
        batch, init=[(module, make)], forward=forward, uses={"Projections", *lists, *options}
    )


def _suffix(section: Section, nodes: list[Placed], projection: Projection, scope: Scope) -> str:
    """Tells the parts of one purpose apart: by nodes, and by the layer if that is another one."""
    several = scope.naming.sections[section.purpose, nodes[0].layer] > 1
    suffix = f"_{scope.naming.label(nodes)}" if several else ""
    return suffix if nodes[0].layer == projection.layer else f"_{nodes[0].layer}{suffix}"


def _unpacked(names: list[str], made: Group, scope: Scope, suffix: str) -> list[tuple[str, Expr]]:
    """`down, router = self.projections(x)`; in several lines where that is too long for one."""
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
    """Feature gates on what they read; a projection has their low ranks and routers."""
    members, first = members_of(batch, FeatureGate)
    module = scope.module(batch)
    options: dict[str, Expr] = {}
    if first.mix == "before_sigmoid" and first.loras > 1:
        options["mix_logits"] = "True"
    cls = "FusedFeatureGates" if isinstance(first, FusedFeatureGate) else "FeatureGates"
    names = scope.named(
        f"feature_gates.{first.layer}.{{}}.loras.{{}}", places_of(members), first.loras
    )
    make = call(
        cls, names, str(first.width), loras=str(first.loras), rank=str(first.rank), **options
    )
    read = scope.inputs([m.reads[:1] for m in members])
    if len({m.reads[0] for m in members}) > 1:
        read = scope.stacked([m.reads[0] for m in members])
    purposes = ("down", "router") if first.loras > 1 else ("down",)
    forward: list[tuple[str, Expr]] = []
    arguments = {"x": read}
    arguments |= {p: scope.parts_of_projections(p, [m.name for m in members]) for p in purposes}
    for argument, expr in arguments.items():
        if not isinstance(expr, str):
            name = scope.fresh(argument)
            arguments[argument] = name
            forward.append((name, expr))
    name = scope.define(batch.name, "gated" + scope.naming.suffix(batch), len(members))
    forward.append((name, call(module, *arguments.values())))
    uses = {"FeatureGates", cls, *options}
    uses.add("router" if first.loras > 1 else "single")
    uses |= {"after_sigmoid"} if first.loras > 1 and not options else set()
    return Block(batch, init=[(module, make)], forward=forward, uses=uses)


def emit_gates(batch: Batch, scope: Scope) -> Block:
    """Mixture or self gates: logits from projections, or MLPs of their own, to weights."""
    members, first = members_of(batch, Gate)
    single = isinstance(first, SelfGate) and first.choices == 1
    weigh = ".sigmoid()" if single else ".softmax(1)"
    purpose = "self_gate" if isinstance(first, SelfGate) else "gate"
    target = VARIABLES[type(first)] + scope.naming.suffix(batch)
    if (purpose, first.name) not in scope.values.heads:
        return _deep_gates(batch, members, scope, weigh, target)
    logits = scope.parts_of_projections(purpose, [m.name for m in members])
    if isinstance(logits, str) and logits.isidentifier():  # logits become weights in place
        scope.values.of_node[batch.name] = Value(scope.name, logits, len(members))
        return Block(batch, forward=[(logits, then(logits, weigh))])
    name = scope.define(batch.name, target, len(members))
    return Block(batch, forward=[(name, then(logits, weigh))])


def _deep_gates(batch: Batch, members: list[Gate], scope: Scope, weigh: str, target: str) -> Block:
    """Gates with hidden layers are MLPs of their own."""
    first = members[0]
    module = scope.module(batch)
    kind = "self_gates" if isinstance(first, SelfGate) else "gates"
    names = scope.named(f"{kind}.{first.layer}.{{}}", places_of(members))
    make = mlps(names, first.widths, first.hidden_activation)
    read = scope.inputs([m.reads for m in members])
    forward: list[tuple[str, Expr]] = []
    if len(flat(read)) > LONG:
        forward.append((reads := scope.fresh("reads"), read))
        read = reads
    name = scope.define(batch.name, target, len(members))
    forward.append((name, Group(module, (read,), tail=weigh)))
    return Block(batch, init=[(module, make)], forward=forward, uses=mlps_uses(make))
