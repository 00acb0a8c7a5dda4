"""Stage 7, emit: the batches of an optimised graph, one block of generated code for each.

Letters: B batch, V width of v, S sets, K experts a set, D width, O outputs, C choices, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from homespec.emit.block import Block
from homespec.emit.following import after_last, stacked
from homespec.emit.gates import ROOM, emit_feature_gates, emit_gates, emit_projections
from homespec.emit.layout import Expr, Group, Sum, call, flat, literal, sequence
from homespec.emit.naming import members_of, places_of
from homespec.emit.scope import Scope, follows, runs
from homespec.emit.stacks import mlps
from homespec.graph.nodes import (
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


def emit_batch(batch: Batch, scope: Scope) -> Block:
    """The block of a batch; adds its value to the scope."""
    return EMITTERS[type(batch.members[0])](batch, scope)


def emit_single_choice(gate: Gate, scope: Scope) -> Block:
    """A gate over one expert: the constant weight 1."""
    name = scope.define(gate.name, f"gate_{gate.identifier}", 1)
    x = scope.variable(scope.values.of_node["input"])
    return Block(gate, forward=[(name, f"{x}.new_ones(1, 1, {x}.shape[-1])")])


def _experts(batch: Batch, scope: Scope) -> Block:
    members, first = members_of(batch, ExpertSet)
    module = scope.module(batch)
    suffix = scope.naming.suffix(batch)
    names = scope.fresh(f"experts{suffix}")
    pattern = f"experts.{first.layer}.{{}}.{{}}"
    modules, uses = stacked(after_last(first), names, str(first.width))
    stack, more = mlps(names, first, scope.naming.graph)
    read = scope.inputs([reads for m in members for reads in _each(m)])
    name = scope.define(batch.name, f"e{suffix}", len(members))
    many = scope.named(pattern, places_of(members), first.count)
    made = call("nn.Sequential", stack, *modules) if modules else stack
    sets = Group(module, (read,), tail=f".unflatten(0, (-1, {first.count}))")
    return Block(
        batch, init=[(names, many), (module, made)], forward=[(name, sets)], uses=uses | more
    )


def _each(experts: ExpertSet) -> list[tuple[Port, ...]]:
    """The input of a set's experts: one value for all, or one value each."""
    return [(port,) for port in experts.reads]


def _states(batch: Batch, scope: Scope) -> Block:
    """A mixture: each set that it reads has some of the gate's weights, and gives one sum."""
    members, first = members_of(batch, Mix)
    label = scope.naming.label(members)
    forward: list[tuple[str, Expr]] = []
    if not first.gated:
        state, more = _ungated(members, scope)
    else:
        ports = [m.gate for m in members]
        gate = scope.whole(ports)
        if gate is None:
            gate = scope.fresh(f"gate_{label}")
            forward.append((gate, scope.stacked(ports)))
        state, more = _mixed(members, gate, scope)
    width = str(first.width)
    name = scope.define(batch.name, f"z_{label}", len(members), f"x_{label}", width)
    return Block(batch, forward=[*forward, *_added(name, state)], uses=more)


def _added(name: str, state: Expr) -> list[tuple[str, Expr]]:
    """A sum of two terms that does not fit on a line becomes two statements."""
    if isinstance(state, Sum) and len(state.terms) == 2 and len(name + flat(state)) > ROOM:
        first, second = state.terms
        assert isinstance(second, Group)
        return [(name, first), (name, replace(second, head=f"{name} + {second.head}"))]
    return [(name, state)]


def _mixed(members: list[Mix], gate: str, scope: Scope) -> tuple[Expr, set[str]]:
    """The sum over sets; weights of a self gate are added to those of the gate."""
    first, terms = members[0], _terms(members)
    sums: list[Expr] = []
    uses: set[str] = set()
    start = 0
    for position, size, span in terms:
        weights: Expr = gate if len(terms) == 1 else f"{gate}[:, {start}:{start + size}]"
        start += size
        if position in first.residual_positions:
            own = scope.stacked([_self_gate(m, position) for m in members])
            weights = Sum((weights, own))
        sets = [m.sets[position : position + span] for m in members]
        if _is_foreign(members, position) and not scope.naming.graph.inference:
            positions = range(position, position + span)
            term, more = _forward(weights, f"{gate}.device", members, positions, scope)
        else:
            term, more = _sum(weights, sets, scope)
        sums.append(term)
        uses |= more
    return (sums[0] if len(sums) == 1 else Sum(tuple(sums))), uses


def _is_foreign(members: list[Mix], position: int) -> bool:
    """Whether the set at `position` is foreign to some of the outputs."""
    return any(position in mix.foreign for mix in members)


def _forward(
    weights: Expr, device: str, members: list[Mix], positions: range, scope: Scope
) -> tuple[Group, set[str]]:
    """`mix_forward(w, e, own)`: sets that all outputs read, each with gradients to its own."""
    first, number = members[0], len(members)
    experts = scope.part(first.sets[positions[0]], first.sets[positions[-1]])
    own = [[position not in mix.foreign for position in positions] for mix in members]
    if own == [[row == column for column in range(number)] for row in range(number)]:
        mask = call("torch.eye", str(number), dtype="torch.bool", device=device)
    else:
        rows = [sequence([str(each) for each in row], "[]") for row in own]
        mask = call("torch.tensor", sequence(rows, "[]"), device=device)
    return call("mix_forward", weights, experts, mask), {"gates.mix_forward"}


def _ungated(members: list[Mix], scope: Scope) -> tuple[Expr, set[str]]:
    """The state is the output of the only expert, times 1 + its weight if there is a self gate."""
    sets = [m.sets for m in members]
    foreign = bool(members[0].foreign) and not scope.naming.graph.inference
    if members[0].residual_positions:
        own = scope.stacked([_self_gate(m, 0) for m in members])
        if foreign:
            device = f"{scope.part(members[0].sets[0], members[0].sets[0])}.device"
            return _forward(Sum(("1", own)), device, members, range(1), scope)
        return _sum(Sum(("1", own)), sets, scope)
    experts = scope.stacked([port for (port,) in sets], rest=3)
    tail = ".flatten(0, 1)" + (".detach()" if foreign else "")
    if isinstance(experts, str):
        return experts + tail, set()
    assert isinstance(experts, Group)
    return replace(experts, tail=tail), set()


def _self_gate(mix: Mix, position: int) -> Port:
    """The self gate on the set at `position`, whose weights are added to the mixture gate's."""
    return next(gate for gate, at in mix.residuals if at == position)


def _terms(members: list[Mix]) -> list[tuple[int, int, int]]:
    """(position, columns, sets) of each term. A single output may read consecutive sets as one."""
    first = members[0]
    terms: list[tuple[int, int, int]] = []
    for position, count in enumerate(first.counts):
        if terms and _all_join(members, terms[-1], position):
            start, columns, span = terms[-1]
            terms[-1] = (start, columns + count, span + 1)
        else:
            terms.append((position, count, 1))
    return terms


def _all_join(members: list[Mix], term: tuple[int, int, int], position: int) -> bool:
    """Whether the set at `position` continues a term for all outputs, which then read the same.

    Outputs that see all sets do: some of them, or none, without gradients to both.
    """
    if len(members) > 1 and not members[0].foreign:
        return False
    foreign = [_is_foreign(members, at) for at in (term[0], position)]
    return foreign[0] == foreign[1] and all(_joins(mix, term, position) for mix in members)


def _joins(mix: Mix, term: tuple[int, int, int], position: int) -> bool:
    """Whether the set at `position` follows the term's last and neither has a self gate."""
    start, _, span = term
    touched = {start, position} & set(mix.residual_positions)
    return not touched and follows(mix.sets[start + span - 1], mix.sets[position])


def _sum(weights: Expr, sets: list[tuple[Port, ...]], scope: Scope) -> tuple[Group, set[str]]:
    """`mix(w [O, K, B], e [G, K, D, B])` for one set (or a row of sets) an output."""
    if len(set(sets)) == 1 and len(sets[0]) > 1:
        several = scope.part(sets[0][0], sets[0][-1])
        return call("mix", weights, several), {"gates.mix__joined"}
    read = runs(sets)
    experts = scope.stacked([key[0] for key, _ in read], rest=3)
    outputs = [length for _, length in read]
    if len(set(outputs)) == 1:
        return call("mix", weights, experts), {"gates.mix"}
    return call("mix_each", weights, experts, literal(outputs)), {"gates.mix_each"}


def _towers(batch: Batch, scope: Scope) -> Block:
    members, first = members_of(batch, Tower)
    module = scope.module(batch)
    places = places_of(members)
    named = scope.named("towers.{}", places)
    make, uses = mlps(named, first, scope.naming.graph)
    read = Group(module, (scope.inputs([m.reads for m in members]),), tail=".squeeze(1)")
    init: list[tuple[str, Expr]] = [(module, make)]
    if any(m.rate is not None for m in members):
        rate = "RATES.get(task)" if any(m.rate is None for m in members) else "RATES[task]"
        rates = f"[{rate} for task in {flat(scope.naming.nodes(places))}]"
        init.append(("", call(f"{module}.init_prior", rates)))
        all_known = all(t.rate is not None for t in scope.naming.graph.of(Tower))
        uses.add("stacks.MLPs__prior" if all_known else "stacks.MLPs__known_prior")
    name = scope.define(batch.name, "y" + scope.naming.suffix(batch), len(members))
    return Block(batch, init=init, forward=[(name, read)], uses=uses)


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
