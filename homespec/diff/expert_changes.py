"""HS64x and HS65x: changes of layers, experts and gates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter

from homespec.checks.causes import and_others, listed
from homespec.diagnostics import Finding, Label, Span
from homespec.diff.breaks import Breaks
from homespec.diff.pair import Match, Pair, both, change
from homespec.diff.tower_changes import tower_norm_numbers
from homespec.diff.what import what_of, widths_after
from homespec.graph import Graph
from homespec.graph.identity import Key, Renames
from homespec.graph.nodes import (
    Detached,
    ExpertSet,
    FeatureGate,
    Gate,
    Mix,
    Node,
    Placed,
    Port,
    SelfGate,
)
from homespec.lower import Lowered

NOTHING: Key = ("", "nothing")
SECTIONS: dict[type[Node], str] = {FeatureGate: "feature", SelfGate: "self", Mix: "mixture"}
"""The keys of `gates` that configure these nodes."""


def _changed(
    pair: Pair, kind: type[Node], value: Callable[[Node], object], words: str
) -> Iterator[Finding]:
    """`words` is the message, with `{what}`, `{now}` and `{was}`."""
    for matches in pair.changed(kind, value):
        was, now = map(value, matches[0])
        if "" not in (was, now):
            yield both(matches[0], words.format(what=what_of(matches), was=was, now=now), was, now)


@change("HS640", "layers", Breaks.CHECKPOINT)
def layers(pair: Pair) -> Iterator[Finding]:
    """Another number of layers, or layers with other names; names of weights contain layer names.

    Layers that both specs have keep their weights by name. If the last layer reads other states,
    the logits change.
    """
    was, now = ([layer.name for layer in side.layers] for side in (pair.old, pair.new))
    if was != now:
        yield pair.finding(
            ("layers",), ("layers",), f"the layers are {listed(now, 16)}, were {listed(was, 16)}",
            was=f"{len(was)} layers", now=f"{len(now)} layers",
        )  # fmt: skip


def _presence(pair: Pair, kind: type[Node], what: str) -> Iterator[Finding]:
    """Nodes that only one of the specs has, at places and in layers that both have."""
    layers = {layer.name for layer in pair.old.layers} & {layer.name for layer in pair.new.layers}
    old = {pair.renames.place(node.name) for node in pair.old.root.walk()}
    places = old & {node.name for node in pair.new.root.walk()}

    def shared(nodes: list[Node], renames: Renames) -> list[Placed]:
        return [
            node
            for node in nodes
            if isinstance(node, Placed)
            and node.layer in layers
            and renames.place(node.place).partition(".")[0] in places
        ]

    added, removed = shared(pair.added(kind), Renames()), shared(pair.removed(kind), pair.renames)
    if added:
        yield Finding(
            added[0].span,
            f"{_where(added)} now {'has' if len(added) == 1 else 'have'} {what}",
            label="new",
            related=(Label(_speaks(pair.old, added[0], "enabled"), "not here"),),
        )
    if removed:
        yield Finding(
            _speaks(pair.new, removed[0], "enabled"),
            f"{_where(removed)} no longer {'has' if len(removed) == 1 else 'have'} {what}",
            label="gone",
            related=(Label(removed[0].span, "was here"),),
        )


def _where(nodes: list[Placed]) -> str:
    layers = list(dict.fromkeys(node.layer for node in nodes))
    places = list(dict.fromkeys(node.place for node in nodes))
    return f"{listed(places)} in layer{'s' if len(layers) > 1 else ''} {listed(layers)}"


@change("HS641", "experts-owned", Breaks.CHECKPOINT)
def experts_owned(pair: Pair) -> Iterator[Finding]:
    """Nodes of the task tree that own experts in only one of the specs.

    New experts start fresh, and the gates that see them get more choices. Experts of nodes that no
    longer own any are dropped.
    """
    yield from _presence(pair, ExpertSet, "experts")


@change("HS642", "expert-count", Breaks.CHECKPOINT)
def expert_count(pair: Pair) -> Iterator[Finding]:
    """Another number of experts.

    The experts with the lower numbers keep their weights. Gates that see them gain or lose choices.
    With `homespec migrate --new-choice closed`, outputs stay as they are, unless a self gate over
    one expert, which is a sigmoid, gets a second one.
    """
    yield from _changed(pair, ExpertSet, attrgetter("count"), "{what}: {now} each, was {was}")


@change("HS643", "expert-widths", Breaks.CHECKPOINT)
def expert_widths(pair: Pair) -> Iterator[Finding]:
    """Experts of other widths: their weights, and the columns that read them, cannot be kept.

    The width of their input follows from features or from the layer before, and does not count as a
    change here.
    """
    yield from _changed(pair, ExpertSet, widths_after, "{what} have the widths {now}, had {was}")


@change("HS644", "expert-norm", Breaks.CHECKPOINT)
def expert_norm(pair: Pair) -> Iterator[Finding]:
    """Experts with another norm: batch norm has statistics, and removes a bias.

    Weights that both norms have are kept: batch norm and layer norm each have a weight and a bias.
    """
    yield from _changed(pair, ExpertSet, attrgetter("norm"), "{what} have norm {now}, had {was}")


@change("HS645", "expert-activation", Breaks.NUMERICS)
def expert_activation(pair: Pair) -> Iterator[Finding]:
    """Experts with another activation: the same weights compute something else.

    All weights are kept, but none of them fits the new activation. Continue training, or keep the
    activation.
    """
    yield from _changed(pair, ExpertSet, _activations, "{what} use {now}, used {was}")
    yield from _changed(pair, ExpertSet, _between, "{what} use {now} between layers, used {was}")


def _activations(node: Node) -> str:
    assert isinstance(node, ExpertSet)
    return node.activation


def _between(node: Node) -> str:
    """The activation between layers; "" if there is only one layer."""
    assert isinstance(node, ExpertSet | Gate)
    return node.hidden_activation if len(node.widths) > 2 else ""


@change("HS646", "norm-eps", Breaks.NUMERICS)
def norm_eps(pair: Pair) -> Iterator[Finding]:
    """The number that norms add to a variance.

    All weights are kept. Outputs change a little where channels vary little.
    """
    yield from _changed(pair, ExpertSet, attrgetter("eps"), "{what} have eps {now}, had {was}")
    yield from tower_norm_numbers(pair, "norm_eps", attrgetter("eps"))


@change("HS647", "norm-momentum", Breaks.TRAINING)
def norm_momentum(pair: Pair) -> Iterator[Finding]:
    """How fast running statistics follow the batches of training.

    Weights and outputs stay. From now on, statistics forget old batches faster or slower.
    """
    yield from _changed(
        pair, ExpertSet, attrgetter("momentum"), "{what} have momentum {now}, had {was}"
    )
    yield from tower_norm_numbers(pair, "norm_momentum", attrgetter("momentum"))


@change("HS650", "feature-gates", Breaks.CHECKPOINT)
def feature_gates(pair: Pair) -> Iterator[Finding]:
    """Feature gates that only one of the specs has, or that are made of other LoRAs.

    A new gate starts at 1, so outputs stay as they are at first. The LoRAs with the lower numbers
    keep their weights, in the ranks that both specs have.
    """
    yield from _presence(pair, FeatureGate, "a feature gate")
    yield from _changed(pair, FeatureGate, _loras, "{what} is made of {now}, was {was}")


def _loras(node: Node) -> str:
    assert isinstance(node, FeatureGate)
    if node.activation != "none":
        return f"an MLP with {node.rank} hidden units"
    return f"{node.loras} LoRA{'s' if node.loras > 1 else ''} of rank {node.rank}"


@change("HS651", "feature-gate-mix", Breaks.NUMERICS)
def feature_gate_mix(pair: Pair) -> Iterator[Finding]:
    """Feature gates that mix their LoRAs on the other side of the sigmoid than before.

    All weights are kept, but the values of the gates change.
    """
    yield from _changed(pair, FeatureGate, attrgetter("mix"), "{what} mixes {now}, was {was}")


@change("HS652", "self-gates", Breaks.CHECKPOINT)
def self_gates(pair: Pair) -> Iterator[Finding]:
    """Self gates that only one of the specs has, or that have other layers.

    A self gate adds a share of a node's own experts to its state, so adding or removing one changes
    logits.
    """
    yield from _presence(pair, SelfGate, "a self gate")
    yield from _changed(pair, SelfGate, _hidden, "{what} has {now}, had {was}")


def _hidden(node: Node) -> str:
    assert isinstance(node, Gate)
    hidden = node.widths[1:-1]
    if not hidden:
        return "no hidden layer"
    return f"hidden layers {', '.join(map(str, hidden))}"


@change("HS653", "gates", Breaks.CHECKPOINT)
def gates(pair: Pair) -> Iterator[Finding]:
    """Mixture gates with other layers.

    Hidden layers with the same position and width in both specs keep their weights; others start
    fresh.
    """
    yield from _changed(pair, Gate, _hidden, "{what} has {now}, had {was}")


@change("HS658", "gate-activation", Breaks.NUMERICS)
def gate_activation(pair: Pair) -> Iterator[Finding]:
    """Gates with another activation between their layers.

    All weights are kept, but the gates compute other weights. Continue training, or keep the
    activation.
    """
    for kind in (Gate, SelfGate):
        yield from _changed(pair, kind, _between, "{what} uses {now} between layers, used {was}")


@change("HS654", "gate-inputs", Breaks.CHECKPOINT)
def gate_inputs(pair: Pair) -> Iterator[Finding]:
    """Gates that read other states, such as only their own instead of the whole path.

    Columns for states that both gates read are kept; the others start fresh or are dropped.
    """
    for kind in (Gate, SelfGate, FeatureGate):
        differ = (m for m in _stayed(pair, kind) if _differ(*_reads(pair, m)))
        for matches in pair.by_cause(differ, lambda m: repr(_reads(pair, m))):
            was, now = map(_states, _reads(pair, matches[0]))
            yield both(matches[0], f"{what_of(matches)} reads {now}, read {was}", was, now)


def _stayed(pair: Pair, kind: type[Node]) -> Iterator[Match]:
    """Nodes that have not moved. For nodes that have, the move itself is the reported change."""
    for match in pair.nodes(kind):
        if isinstance(match.new, Placed) and pair.has_stayed(match.new.place):
            yield match


def _reads(pair: Pair, match: Match) -> tuple[set[Key], set[Key]]:
    before, after = pair.old.graph, pair.new.graph
    was = {pair.renames.value(before[port.node]) for port in before.values(_of_gate(match.old))}
    now = {Renames().value(after[port.node]) for port in after.values(_of_gate(match.new))}
    return _or_nothing(match.old, was), _or_nothing(match.new, now)


def _of_gate(node: Node) -> tuple[Port, ...]:
    """The values of which a gate is computed."""
    return node.reading if isinstance(node, FeatureGate) else node.reads


def _or_nothing(node: Node, keys: set[Key]) -> set[Key]:
    """What a gate reads; nothing, and what a feature gate scales, have keys of their own."""
    if isinstance(node, FeatureGate) and len(node.reads) == 1:
        return {("", "its input")}
    return {NOTHING} if isinstance(node, Gate) and node.is_static else keys


def _differ(was: set[Key], now: set[Key]) -> bool:
    return bool(was and now) and was != now


def _states(keys: set[Key]) -> str:
    """The states that a gate reads: `v`, places, or feature-gated copies of them."""
    if keys == {NOTHING}:
        return "nothing"
    names = sorted("v" if len(key) == 1 else key[-1] for key in keys if key[0] != "feature_gate")
    gated = sorted(key[-1] for key in keys if key[0] == "feature_gate")
    parts = [listed(names)] if names else []
    return " and ".join([*parts, *([f"gated copies for {listed(gated)}"] if gated else [])])


@change("HS661", "gate-detach", Breaks.TRAINING)
def gate_detach(pair: Pair) -> Iterator[Finding]:
    """Gates that send gradients into other values than before.

    A trained model stays as it is: `detach` acts on gradients alone. From now on, the loss moves
    what the gates read through them, or no longer does.
    """
    for kind in (Gate, SelfGate, FeatureGate):
        for matches in pair.by_cause(_redetached(pair, kind), lambda _: ""):
            was, now = _gradients(pair, matches[0])
            yield both(matches[0], f"{what_of(matches)} sends {now}, sent {was}", was, now)


def _redetached(pair: Pair, kind: type[Node]) -> Iterator[Match]:
    for match in _stayed(pair, kind):
        was, now = _reads(pair, match)
        if was == now and len({*_gradients(pair, match)}) == 2:
            yield match


def _gradients(pair: Pair, match: Match) -> tuple[str, str]:
    """Where a gate of each spec sends gradients."""
    was = _sent(pair.old.graph, match.old, pair.renames)
    return was, _sent(pair.new.graph, match.new, Renames())


def _sent(graph: Graph, node: Node, renames: Renames) -> str:
    cut = [p for p in _of_gate(node) if isinstance(graph[p.node], Detached)]
    keys = {renames.key(graph[port.node]) for port in graph.values(cut)}
    return f"no gradient into {_states(keys)}" if keys else "gradients into all that it reads"


@change("HS655", "mask", Breaks.CHECKPOINT, Breaks.NUMERICS)
def mask(pair: Pair) -> Iterator[Finding]:
    """A gate that sees other expert sets, among those that both specs have.

    The task can use other experts, and its loss trains other experts.
    """
    differ = (m for m in _stayed(pair, Mix) if any(_seen(pair, m)))
    for matches in pair.by_cause(differ, lambda _: ""):
        lost, won = _seen(pair, matches[0])
        parts = [f"no longer sees {listed(lost)}"] if lost else []
        parts += [f"now sees {listed(won)}"] if won else []
        others = and_others(len(matches), "gate")
        node = matches[0].new
        assert isinstance(node, Mix)
        yield Finding(
            _speaks(pair.new, node, "sees"),
            f"the gate of `{node.place}` in layer `{node.layer}` {' and '.join(parts)}"
            + (f", and so on for{others.removeprefix(' and')}" if others else ""),
            f"now {len(node.sets)} sets",
            (Label(_speaks(pair.old, matches[0].old, "sees"), "was otherwise"),),
        )


@change("HS665", "foreign-gradients", Breaks.TRAINING)
def foreign_gradients(pair: Pair) -> Iterator[Finding]:
    """A gate that sends gradients to other expert sets, among those that it sees in both specs.

    With `sees: forward` the loss of a task trains only the sets on its path. Logits stay as they
    are, and training continues with other gradients.
    """
    differ = (m for m in _stayed(pair, Mix) if _foreign(pair, m)[0] != _foreign(pair, m)[1])
    for matches in pair.by_cause(differ, lambda _: ""):
        was, now = _foreign(pair, matches[0])
        verb = "no longer sends" if len(now) > len(was) else "now sends"
        others = and_others(len(matches), "gate")
        node = matches[0].new
        assert isinstance(node, Mix)
        yield Finding(
            _speaks(pair.new, node, "sees"),
            f"the gate of `{node.place}` in layer `{node.layer}` {verb} gradients to "
            f"{listed(sorted(was ^ now))}"
            + (f", and so on for{others.removeprefix(' and')}" if others else ""),
            f"now {len(now)} sets without gradients",
            (Label(_speaks(pair.old, matches[0].old, "sees"), f"was {len(was)}"),),
        )


def _foreign(pair: Pair, match: Match) -> tuple[set[str], set[str]]:
    """The sets to which a mixture sends no gradients, among those that it reads in both specs."""
    old, new = match
    assert isinstance(old, Mix)
    assert isinstance(new, Mix)
    place = pair.renames.place
    sets = ([place(port.node.rpartition(".")[2]) for port in old.sets],
            [port.node.rpartition(".")[2] for port in new.sets])  # fmt: skip
    both = set(sets[0]) & set(sets[1])
    foreign = (old.foreign, new.foreign)
    was, now = ({names[at] for at in own} & both for names, own in zip(sets, foreign, strict=True))
    return was, now


def _speaks(side: Lowered, node: Node, key: str) -> Span:
    """The most specific place in a spec that configures a key of gates such as this one."""
    assert isinstance(node, Placed)
    (layer,) = (layer for layer in side.layers if layer.name == node.layer)
    kind = SECTIONS.get(type(node))
    sections = [(*path, kind) for path in layer.gate_sections] if kind else []
    return side.first_span([*((*path, key) for path in sections), *sections, ("family",)])


def _seen(pair: Pair, match: Match) -> tuple[list[str], list[str]]:
    """Sets of both specs that a gate no longer sees, and sets that it sees now."""
    assert isinstance(match.old, Mix)
    assert isinstance(match.new, Mix)
    was = {pair.renames.key(pair.old.graph[port.node]) for port in match.old.sets}
    now = {Renames().key(pair.new.graph[port.node]) for port in match.new.sets}
    lost = sorted(key[-1] for key in was - now if key in pair.after)
    return lost, sorted(key[-1] for key in now - was if key in pair.before)


EXPERT_CHANGES = (
    layers, experts_owned, expert_count, expert_widths, expert_norm, expert_activation, norm_eps,
    norm_momentum, feature_gates, feature_gate_mix, self_gates, gates, gate_inputs, mask,
    foreign_gradients, gate_activation, gate_detach,
)  # fmt: skip
