"""Stage 6, emit: gates of all kinds, and the projections that make their logits and low ranks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from homespec.emit.block import Block, Columns, Logical, Scope
from homespec.emit.layout import Expr, Group, call, flat, literal, sequence, then
from homespec.emit.slices import heads, inputs, stacked
from homespec.emit.stacks import (
    input_of,
    members_of,
    mlp_logical,
    mlps,
    places_of,
    variable_name,
)
from homespec.nodes import (
    Batch,
    FeatureGate,
    FusedFeatureGate,
    Gate,
    Projection,
    Section,
    SelfGate,
)


def emit_projections(batch: Batch, variables: Scope) -> Block:
    """One wide GEMM for each value, and its columns as variables by purpose."""
    members, first = members_of(batch, Projection)
    tensor = f"trunk.{batch.name}"
    suffix = batch.name.removeprefix("projections_")
    names = _section_names(first, suffix, variables)
    logical: list[Logical] = []
    bare = biased = 0
    for position, (section, name) in enumerate(zip(first.sections, names, strict=True)):
        nodes = [node for m in members for node in m.sections[position].nodes]
        for place, node in enumerate(nodes):
            group, index = divmod(place, len(section.nodes))
            key = (section.purpose, node)
            size = len(members)
            variables.columns[key] = Columns(name, size, len(section.nodes), group, index)
        constant = name.removesuffix("_GCB").upper()
        weights, biases = _section_logical(section, nodes)
        rows = (bare + biased, bare + biased + section.columns)
        logical.append(replace(weights, tensor=f"{tensor}.weight", rows=rows, names=constant))
        if biases is None:
            bare += section.columns
        else:
            rows = (biased, biased + section.columns)
            logical.append(replace(biases, tensor=f"{tensor}.bias", rows=rows, names=constant))
            biased += section.columns
    without = [s.columns for s in first.sections if s.purpose == "down"]
    having = [s.columns for s in first.sections if s.purpose != "down"]
    make = call(
        "Projections", str(len(members)), str(first.width), literal(without), literal(having)
    )
    each = [stacked([m.reads[i] for m in members], variables) for i in range(len(first.reads))]
    read = each[0] if len(each) == 1 else call("torch.cat", sequence(each, "[]"), dim="1")
    forward: list[tuple[str, Expr]] = []
    if len(flat(read)) > 60:  # a long input reads better on a line of its own
        forward.append(("read_GNB", read))
        read = "read_GNB"
    own = call(f"self.{batch.name}", read)
    if len(names) == 1:
        forward.append((names[0], then(own, "[0]")))
    elif len(", ".join(names)) < 60:
        forward.append((", ".join(names), own))
    else:
        forward.append(("heads", own))
        forward += [(name, f"heads[{i}]") for i, name in enumerate(names)]
    return Block(
        batch,
        init=[(f"self.{batch.name}", make)],
        forward=forward,
        logical=logical,
        uses={"Projections"},
    )


COLUMN_NAMES = {"down": "low", "router": "router", "gate": "logits", "self_gate": "own"}
"""The variables of a projection's columns by purpose."""


def _section_names(first: Projection, suffix: str, scope: Scope) -> list[str]:
    """low_meta_GCB, …; with the section's first node where there are several of one purpose."""
    several = Counter(section.purpose for section in first.sections)
    names = []
    for section in first.sections:
        name = f"{COLUMN_NAMES[section.purpose]}_{suffix}"
        if several[section.purpose] > 1:
            name += "_of_" + section.nodes[0].split(".", 2)[2].replace(".", "_")
        names.append(scope.fresh(name) + "_GCB")
    return names


def _section_logical(section: Section, nodes: list[str]) -> tuple[Logical, Logical | None]:
    """Logical names of the weights and the biases of nodes that are rows of a projection."""
    kind, layer, _ = nodes[0].split(".", 2)
    places = tuple(node.split(".", 2)[2] for node in nodes)
    stem = f"{kind}.{layer}.{{}}"
    if section.purpose == "down":
        return Logical("", f"{stem}.loras.{{}}.down.weight", (places, section.loras)), None
    part = f"{stem}.router" if section.purpose == "router" else f"{stem}.linears.0"
    return Logical("", f"{part}.weight", (places,)), Logical("", f"{part}.bias", (places,))


def emit_feature_gates(batch: Batch, variables: Scope) -> Block:
    """Feature gates on what they read; a projection has their low ranks and routers."""
    members, first = members_of(batch, FeatureGate)
    places, count = places_of(members), len(members)
    options: dict[str, Expr] = {}
    if first.mix == "before_sigmoid":
        options["mix_logits"] = "True"
    uses = {"FeatureGates"}
    uses |= {"FusedFeatureGates"} if isinstance(first, FusedFeatureGate) else set()
    make = call(
        max(uses), str(count), width=str(first.width), loras=str(first.loras),
        rank=str(first.rank), **options,
    )  # fmt: skip
    up = f"feature_gates.{first.layer}.{{}}.loras.{{}}.up.weight"
    read = inputs([m.reads[:1] for m in members], variables)
    if len({m.reads[0] for m in members}) > 1:
        read = stacked([m.reads[0] for m in members], variables)
    purposes = ("down", "router") if first.loras > 1 else ("down",)
    columns = [heads([(p, m.name) for m in members], variables) for p in purposes]
    use = call(f"self.{batch.name}", read, *columns)
    return Block(
        batch,
        init=[(f"self.{batch.name}", make)],
        forward=[(variable_name(batch), use)],
        logical=[Logical(f"trunk.{batch.name}.up", up, (places, first.loras))],
        uses=uses,
    )


def emit_gates(batch: Batch, variables: Scope) -> Block:
    """Mixture or self gates: logits from projections, or MLPs of their own, to weights."""
    members, first = members_of(batch, Gate)
    self_gate = isinstance(first, SelfGate)
    single = self_gate and first.choices == 1
    weigh = ".sigmoid()" if single else ".softmax(1)"
    purpose = "self_gate" if self_gate else "gate"
    target = variable_name(batch)
    if (purpose, first.name) in variables.columns:
        logits = heads([(purpose, m.name) for m in members], variables)
        return Block(batch, forward=[(target, then(logits, weigh))])
    return _deep_gates(batch, members, variables, weigh)


def _deep_gates(batch: Batch, members: list[Gate], variables: Scope, weigh: str) -> Block:
    """Gates with hidden layers are MLPs of their own."""
    first = members[0]
    kind = "self_gates" if isinstance(first, SelfGate) else "gates"
    make = mlps(len(members), first.widths, first.hidden_activation)
    read = input_of(batch, variables)
    forward: list[tuple[str, Expr]] = []
    if len(flat(read)) > 60:  # a long input reads better on a line of its own
        forward.append(("read_GNB", read))
        read = "read_GNB"
    forward.append((variable_name(batch), Group(f"self.{batch.name}", (read,), tail=weigh)))
    return Block(
        batch,
        init=[(f"self.{batch.name}", make)],
        forward=forward,
        logical=mlp_logical(
            f"trunk.{batch.name}",
            f"{kind}.{first.layer}.{{}}",
            (places_of(members),),
            len(first.widths) - 1,
        ),
        uses={"MLPs"},
    )
