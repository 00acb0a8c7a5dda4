"""HS64x and HS65x: changes of layers, experts and gates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter

from homespec.checks.causes import listed
from homespec.diagnostics import Finding, Label
from homespec.diff.breaks import Breaks
from homespec.diff.gate_reading_changes import where_configured
from homespec.diff.pair import Pair, both, change
from homespec.diff.tower_changes import tower_norm_numbers
from homespec.diff.what import what_of, widths_after
from homespec.graph.identity import Renames
from homespec.graph.nodes import (
    ExpertSet,
    FeatureGate,
    Gate,
    Node,
    Placed,
    SelfGate,
)


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
            related=(Label(where_configured(pair.old, added[0], "enabled"), "not here"),),
        )
    if removed:
        yield Finding(
            where_configured(pair.new, removed[0], "enabled"),
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


EXPERT_CHANGES = (
    layers, experts_owned, expert_count, expert_widths, expert_norm, expert_activation, norm_eps,
    norm_momentum, feature_gates, feature_gate_mix, self_gates, gates, gate_activation,
)  # fmt: skip
