"""Stage 6, emit: the batches of an optimised graph, one block of generated code for each.

Letters: B batch, V width of v, S sets, K experts a set, D width, O outputs, C choices, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from homespec.emit.block import Block, Logical, Scope, Variable
from homespec.emit.gating import emit_feature_gates, emit_gates, emit_projections
from homespec.emit.layout import Expr, Group, call, flat, literal
from homespec.emit.slices import follows, inputs, part, runs, stacked
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
    ExpertSet,
    FeatureGate,
    FusedFeatureGate,
    Gate,
    Mix,
    Node,
    Port,
    Projection,
    SelfGate,
    Tower,
)

N = TypeVar("N", bound=Node)


def emit_batch(batch: Batch, variables: Scope) -> Block:
    """The block of a batch; its variable joins `variables`."""
    block = EMITTERS[type(batch.members[0])](batch, variables)
    if not isinstance(batch.members[0], Projection):
        variables[batch.name] = Variable(variable_name(batch), len(batch.members))
    return block


def emit_single_choice(gate: Gate, variables: Scope) -> Block:
    """A gate over one expert: the weight 1, no weights to learn."""
    name = f"w_{gate.layer}_{gate.identifier}_11B"
    variables[gate.name] = Variable(name)
    return Block(gate, forward=[(name, "x_1VB.new_ones(1, 1, x_1VB.shape[-1])")])


def _experts(batch: Batch, variables: Scope) -> Block:
    members, first = members_of(batch, ExpertSet)
    axes = (places_of(members), first.count)
    tensor, pattern = f"trunk.{batch.name}", f"experts.{first.layer}.{{}}.{{}}"
    total = len(members) * first.count
    finish, logical, uses = _finish(first, total, tensor, pattern, axes)
    stack = mlps(total, first.widths, first.hidden_activation, first.last_bias)
    make = call("Experts", str(first.count), stack, *finish)
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
        if first.activation == "swish":
            add("BatchNormSwish", call("BatchNormSwish", *statistics), parts)
            return finish, logical, {*uses, "BatchNorm"}
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


def _states(batch: Batch, variables: Scope) -> Block:
    """A mixture: some of the gate's weights are for each set that it reads, one sum for each."""
    members, first = members_of(batch, Mix)
    target = variable_name(batch)
    if not first.gated:
        lone = _ungated(target, members, variables)
        return Block(batch, forward=lone, uses=_mixers(lone))
    whole = stacked([m.gate for m in members], variables)
    weights = flat(whole)
    terms = _terms(members)
    forward: list[tuple[str, Expr]] = []
    if isinstance(whole, Group):
        forward.append(("w_OCB", whole))
        weights = "w_OCB"
    sums, start = [], 0
    for index, (position, size, span) in enumerate(terms):
        weight = weights if len(terms) == 1 else f"{weights}[:, {start}:{start + size}]"
        start += size
        if position in first.residual_positions:
            own = stacked([_self_gate(m, position) for m in members], variables)
            forward.append((f"w{index}_OKB", _plus(weight, own)))
            weight = f"w{index}_OKB"
        sums.append(_sum(weight, [m.sets[position : position + span] for m in members], variables))
    forward.append((target, sums[0]))
    forward += [(target, _plus(target, more)) for more in sums[1:]]
    return Block(batch, forward=forward, uses=_mixers(forward))


def _mixers(forward: list[tuple[str, Expr]]) -> set[str]:
    """The functions that mix; one is made of the other."""
    each = any("mix_each(" in flat(expr) for _, expr in forward)
    return {"mix", "mix_each"} if each else {"mix"}


def _ungated(target: str, members: list[Mix], variables: Scope) -> list[tuple[str, Expr]]:
    """The state is the one expert that there is, with a self gate 1 + its weight times that."""
    sets = [m.sets for m in members]
    if members[0].residual_positions:
        weight = _plus("1", stacked([_self_gate(m, 0) for m in members], variables))
        return [("w_OKB", weight), (target, _sum("w_OKB", sets, variables))]
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
    """`mix(w [O, K, B], e [G, K, D, B])` for one set (or a row of sets) an output."""
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
    members, first = members_of(batch, Tower)
    make = mlps(len(members), first.widths, first.activation)
    read = Group(f"self.{batch.name}", (input_of(batch, variables),), tail=".squeeze(1)")
    init: list[tuple[str, Expr]] = [(f"self.{batch.name}", make)]
    if any(m.rate is not None for m in members):
        rates = f"[RATES.get(task, 0.5) for task in {batch.name.upper()}]"
        init.append(("", call(f"self.{batch.name}.start_at", rates)))
    return Block(
        batch,
        init=init,
        forward=[(variable_name(batch), read)],
        logical=mlp_logical(
            f"trunk.{batch.name}", "towers.{}", (places_of(members),), len(first.widths) - 1
        ),
        uses={"MLPs"},
    )


EMITTERS: dict[type[Node], Callable[[Batch, Scope], Block]] = {
    Projection: emit_projections,
    FeatureGate: emit_feature_gates,
    FusedFeatureGate: emit_feature_gates,
    ExpertSet: _experts,
    Gate: emit_gates,
    SelfGate: emit_gates,
    Mix: _states,
    Tower: _towers,
}
