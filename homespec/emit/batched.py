"""Stage 6, emit: the batches of an optimised graph, one block of generated code for each.

Letters: B batch, V width of v, S sets, K experts a set, D width, O outputs, C choices, T tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from homespec.emit.block import Block, Columns, Logical, Scope, Variable
from homespec.emit.layout import Expr, Group, call, flat, literal, sequence
from homespec.emit.slices import follows, heads, inputs, part, runs, stacked
from homespec.graph import (
    Batch,
    ExpertSet,
    FeatureGate,
    Gate,
    Mix,
    Node,
    Placed,
    Port,
    Projection,
    Section,
    SelfGate,
    Tower,
)

N = TypeVar("N", bound=Node)
ACTIVATIONS = {"relu": "F.relu", "swish": "F.silu"}
LETTERS = {
    "feature_gates": ("x", "SBN"),
    "experts": ("e", "SKBD"),
    "gates": ("w", "OBC"),
    "self_gates": ("s", "SBK"),
    "states": ("z", "OBD"),
    "towers": ("y", "TB"),
}
"""Letter and shape of the variable that holds the value of each kind of batch."""


def emit_batch(batch: Batch, variables: Scope) -> Block:
    """The block of a batch; its variable joins `variables`."""
    block = EMITTERS[type(batch.members[0])](batch, variables)
    if not isinstance(batch.members[0], Projection):
        variable = variables.add(batch.name, variable_name(batch), len(batch.members))
        if variable.cuts:
            split = f"{variable.name}.split({literal(list(variable.cuts))})"
            block.forward.append((variable.parts, split))
    return block


def emit_single_choice(gate: Gate, variables: Scope, like: Expr) -> Block:
    """A gate over one expert: the weight 1, no weights to learn."""
    name = f"w_{gate.layer}_{gate.identifier}_1B1"
    variables[gate.name] = Variable(name)
    return Block(gate, forward=[(name, f"{like}.new_ones(1, len({like}), 1)")])


def variable_name(batch: Batch) -> str:
    """The batch's name with the field's letter and the shape: experts_meta -> e_meta_SKBD."""
    kind = next(kind for kind in LETTERS if batch.name == kind or batch.name.startswith(f"{kind}_"))
    letter, shape = LETTERS[kind]
    return f"{letter}{batch.name.removeprefix(kind)}_{shape}"


def _members(batch: Batch, kind: type[N]) -> tuple[list[N], N]:
    members = [m for m in batch.members if isinstance(m, kind)]
    return members, members[0]


def _places(members: list[Any]) -> tuple[str, ...]:
    return tuple(m.place if isinstance(m, Placed) else m.task for m in members)


def _input(batch: Batch, variables: Scope) -> Expr:
    return inputs([member.reads for member in batch.members], variables)


def widths_of(widths: tuple[int, ...]) -> Group:
    """A tuple of widths as a literal."""
    return sequence([str(width) for width in widths])


def _mlps(count: int, widths: tuple[int, ...], activation: str, last_bias: bool = True) -> Group:
    options: dict[str, Expr] = {}
    if len(widths) > 2 and activation != "relu":
        options["activation"] = ACTIVATIONS[activation]
    if not last_bias:
        options["last_bias"] = "False"
    return call("MLPs", str(count), widths_of(widths), **options)


def mlp_logical(
    tensor: str,
    pattern: str,
    axes: tuple[tuple[str, ...] | int, ...],
    layers: int,
    last_bias: bool = True,
) -> list[Logical]:
    """Logical names of the weights and biases of stacked MLPs."""
    rows = []
    for i in range(layers):
        rows.append(Logical(f"{tensor}.weights.{i}", f"{pattern}.linears.{i}.weight", axes))
        if last_bias or i < layers - 1:
            rows.append(Logical(f"{tensor}.biases.{i}", f"{pattern}.linears.{i}.bias", axes))
    return rows


def _projections(batch: Batch, variables: Scope) -> Block:
    """One wide GEMM for each value, and its columns as variables by purpose."""
    members, first = _members(batch, Projection)
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
        constant = name.removesuffix("_GBC").upper()
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
    read = each[0] if len(each) == 1 else call("torch.cat", sequence(each, "[]"), dim="-1")
    forward: list[tuple[str, Expr]] = []
    if len(flat(read)) > 60:  # a long input reads better on a line of its own
        forward.append(("read_GBN", read))
        read = "read_GBN"
    own = call(f"self.{batch.name}", read)
    if len(names) == 1:
        forward.append((names[0], _then(own, "[0]")))
    elif len(", ".join(names)) < 60:
        forward.append((", ".join(names), own))
    else:
        forward.append(("columns", own))
        forward += [(name, f"columns[{i}]") for i, name in enumerate(names)]
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
    """low_meta_GBC, …; with the section's first node where there are several of one purpose."""
    several = Counter(section.purpose for section in first.sections)
    names = []
    for section in first.sections:
        name = f"{COLUMN_NAMES[section.purpose]}_{suffix}"
        if several[section.purpose] > 1:
            name += "_of_" + section.nodes[0].split(".", 2)[2].replace(".", "_")
        names.append(scope.fresh(name) + "_GBC")
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


def _feature_gates(batch: Batch, variables: Scope) -> Block:
    members, first = _members(batch, FeatureGate)
    places, count = _places(members), len(members)
    options: dict[str, Expr] = {}
    if first.mix == "before_sigmoid":
        options["mix_logits"] = "True"
    make = call(
        "FeatureGates", str(count), width=str(first.width), loras=str(first.loras),
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
        uses={"FeatureGates"},
    )


def _experts(batch: Batch, variables: Scope) -> Block:
    members, first = _members(batch, ExpertSet)
    axes = (_places(members), first.count)
    tensor, pattern = f"trunk.{batch.name}", f"experts.{first.layer}.{{}}.{{}}"
    total = len(members) * first.count
    finish, logical, uses = _finish(first, total, tensor, pattern, axes)
    mlps = _mlps(total, first.widths, first.hidden_activation, first.last_bias)
    make = call("Experts", str(first.count), mlps, *finish)
    layers = len(first.widths) - 1
    read = inputs([reads for m in members for reads in _each(m)], variables)
    return Block(
        batch,
        init=[(f"self.{batch.name}", make)],
        forward=[(variable_name(batch), call(f"self.{batch.name}", read))],
        logical=mlp_logical(f"{tensor}.mlps", pattern, axes, layers, first.last_bias) + logical,
        uses={"Experts", "MLPs", *uses},
    )


def _each(experts: ExpertSet) -> list[tuple[Port, ...]]:
    """What the experts of a set read: all of them one value, or each its own."""
    return [(port,) for port in experts.reads]


def _finish(
    first: ExpertSet, total: int, tensor: str, pattern: str, axes: tuple[Any, ...]
) -> tuple[list[Expr], list[Logical], set[str]]:
    """Norm and activation behind the last Linear: modules, logical names, classes."""
    statistics = (str(total), str(first.width), literal(first.eps), literal(first.momentum))
    finish: list[Expr] = []
    logical: list[Logical] = []
    uses: set[str] = set()

    def add(cls: str, make: Expr, parts: dict[str, str]) -> None:
        at = f"{tensor}.finish.{len(finish)}"
        finish.append(make)
        logical.extend(
            Logical(f"{at}.{own}", f"{pattern}.{name}", axes) for own, name in parts.items()
        )
        uses.add(cls)

    running = {f"statistics.running_{s}": f"running_{s}" for s in ("mean", "var")}
    if first.norm == "batch":
        parts = {"weight": "norm.weight", "bias": "norm.bias"}
        parts |= {own: f"norm.{name}" for own, name in running.items()}
        add("BatchNorm", call("BatchNorm", *statistics), parts)
    elif first.norm == "layer":
        parts = {"weight": "norm.weight", "bias": "norm.bias"}
        add("LayerNorm", call("LayerNorm", *statistics[:3]), parts)
    if first.activation == "dice":
        parts = {"alpha": "dice.alpha"} | {own: f"dice.{name}" for own, name in running.items()}
        add("Dice", call("Dice", *statistics), parts)
    elif first.activation == "folded_dice":
        parts = {own: f"dice.{own}" for own in ("alpha", "scale", "shift")}
        add("FoldedDice", call("FoldedDice", *statistics[:2]), parts)
    elif first.activation != "none":
        finish.append("nn.SiLU()" if first.activation == "swish" else "nn.ReLU()")
    return finish, logical, uses


def _gates(batch: Batch, variables: Scope) -> Block:
    members, first = _members(batch, Gate)
    self_gate = isinstance(first, SelfGate)
    single = self_gate and first.choices == 1
    weigh = ".sigmoid()" if single else ".softmax(-1)"
    purpose = "self_gate" if self_gate else "gate"
    target = variable_name(batch)
    if (purpose, first.name) in variables.columns:
        logits = heads([(purpose, m.name) for m in members], variables)
        return Block(batch, forward=[(target, _then(logits, weigh))])
    return _deep_gates(batch, members, variables, weigh)


def _then(expr: Expr, tail: str) -> Expr:
    """`expr.tail()`."""
    return expr + tail if isinstance(expr, str) else replace(expr, tail=expr.tail + tail)


def _deep_gates(batch: Batch, members: list[Gate], variables: Scope, weigh: str) -> Block:
    """Gates with hidden layers are MLPs of their own."""
    first = members[0]
    kind = "self_gates" if isinstance(first, SelfGate) else "gates"
    make = _mlps(len(members), first.widths, first.hidden_activation)
    read = _input(batch, variables)
    forward: list[tuple[str, Expr]] = []
    if len(flat(read)) > 60:  # a long input reads better on a line of its own
        forward.append(("read_GBN", read))
        read = "read_GBN"
    forward.append((variable_name(batch), Group(f"self.{batch.name}", (read,), tail=weigh)))
    return Block(
        batch,
        init=[(f"self.{batch.name}", make)],
        forward=forward,
        logical=mlp_logical(
            f"trunk.{batch.name}",
            f"{kind}.{first.layer}.{{}}",
            (_places(members),),
            len(first.widths) - 1,
        ),
        uses={"MLPs"},
    )


def _states(batch: Batch, variables: Scope) -> Block:
    """A mixture: the gate's weights are split among the sets it reads, one sum for each."""
    members, first = _members(batch, Mix)
    target = variable_name(batch)
    if not first.gated:
        return Block(batch, forward=_ungated(target, members, variables), uses={"mix"})
    whole = stacked([m.gate for m in members], variables)
    weights = flat(whole)
    terms = _terms(members)
    names = [weights]
    forward: list[tuple[str, Expr]] = []
    if isinstance(whole, Group):
        forward.append(("w_OBC", whole))
        weights = "w_OBC"
        names = [weights]
    if len(terms) > 1:
        names = [f"w{i}_OBK" for i in range(len(terms))]
        sizes = literal([size for _, size, _ in terms])
        split = call(f"{weights}.split", sizes, dim="-1")
        forward.append((", ".join(names), split))
        if len(terms) > 8:  # more names than a line holds
            names = [f"w_OBK[{i}]" for i in range(len(terms))]
            forward[-1] = ("w_OBK", call("list", split))
    sums = []
    for name, (position, _, span) in zip(names, terms, strict=True):
        weight = name
        if position in first.residual_positions:
            own = stacked([_self_gate(m, position) for m in members], variables)
            weight = name if len(terms) > 1 else "w0_OBK"
            forward.append((weight, _plus(name, own)))
        sums.append(_sum(weight, [m.sets[position : position + span] for m in members], variables))
    forward.append((target, sums[0]))
    forward += [(target, _plus(target, more)) for more in sums[1:]]
    each = any("mix_each" in flat(expr) for _, expr in forward)
    return Block(batch, forward=forward, uses={"mix", "mix_each"} if each else {"mix"})


def _ungated(target: str, members: list[Mix], variables: Scope) -> list[tuple[str, Expr]]:
    """The state is the one expert that there is, with a self gate 1 + its weight times that."""
    sets = [m.sets for m in members]
    if members[0].residual_positions:
        weight = _plus("1", stacked([_self_gate(m, 0) for m in members], variables))
        return [("w_OBK", weight), (target, _sum("w_OBK", sets, variables))]
    experts = stacked([port for (port,) in sets], variables, rest=3)
    flatten = ".flatten(0, 1)"
    if isinstance(experts, str):
        return [(target, experts + flatten)]
    return [(target, replace(experts, tail=flatten))]


def _self_gate(mix: Mix, position: int) -> Port:
    """The self gate on the set at `position`: its weights simply add to the mixture gate's."""
    return next(gate for gate, at in mix.residuals if at == position)


def _plus(left: str, right: Expr) -> Expr:
    """`left + right`, which may still break inside `right`."""
    if isinstance(right, str):
        return f"{left} + {right}"
    return replace(right, head=f"{left} + {right.head}")


def _terms(members: list[Mix]) -> list[tuple[int, int, int]]:
    """(position, columns, sets) of each term. One lone output may read neighbours as one set."""
    first = members[0]
    terms: list[tuple[int, int, int]] = []
    for position, count in enumerate(first.counts):
        if terms and len(members) == 1 and _joins(first, terms[-1], position):
            start, columns, span = terms[-1]
            terms[-1] = (start, columns + count, span + 1)
        else:
            terms.append((position, count, 1))
    return terms


def _joins(mix: Mix, term: tuple[int, int, int], position: int) -> bool:
    """Whether the set at `position` lies behind the term's last and neither has a self gate."""
    start, _, span = term
    touched = {start, position} & set(mix.residual_positions)
    return not touched and follows(mix.sets[start + span - 1], mix.sets[position])


def _sum(weight: str, sets: list[tuple[Port, ...]], variables: Scope) -> Group:
    """`mix(w [O, B, K], e [G, K, B, D])` for one set (or a row of sets) an output."""
    if len(sets) == 1 and len(sets[0]) > 1:
        several = part(variables, sets[0][0], sets[0][-1])
        return call("mix", weight, f"{several}.flatten(0, 1).unsqueeze(0)")
    found = runs(sets)
    experts = stacked([key[0] for key, _ in found], variables, rest=3)
    outputs = [length for _, length in found]
    if len(set(outputs)) == 1:
        return call("mix", weight, experts)
    return call("mix_each", weight, experts, literal(outputs))


def _towers(batch: Batch, variables: Scope) -> Block:
    members, first = _members(batch, Tower)
    make = _mlps(len(members), first.widths, first.activation)
    read = Group(f"self.{batch.name}", (_input(batch, variables),), tail=".squeeze(-1)")
    target = variable_name(batch)
    names = batch.name.upper()
    init: list[tuple[str, Expr]] = [(f"self.{batch.name}", make)]
    if any(m.rate is not None for m in members):
        rates = f"[RATES.get(task, 0.5) for task in {names}]"
        init.append(("", call(f"self.{batch.name}.start_at", rates)))
    return Block(
        batch,
        init=init,
        forward=[
            (target, read),
            ("", call("logits.update", call("zip", names, f"{target}.unbind()", strict="True"))),
        ],
        logical=mlp_logical(
            f"trunk.{batch.name}", "towers.{}", (_places(members),), len(first.widths) - 1
        ),
        uses={"MLPs"},
    )


EMITTERS: dict[type[Node], Callable[[Batch, Scope], Block]] = {
    Projection: _projections,
    FeatureGate: _feature_gates,
    ExpertSet: _experts,
    Gate: _gates,
    SelfGate: _gates,
    Mix: _states,
    Tower: _towers,
}
