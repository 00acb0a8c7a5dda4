"""HS65x and HS66x: changes of what gates read, which sets they see, and where gradients go."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import and_others, listed
from homespec.diagnostics import Finding, Label, Span
from homespec.diff.breaks import Breaks
from homespec.diff.pair import Match, Pair, both, change
from homespec.diff.what import what_of
from homespec.graph import Graph
from homespec.graph.feature_nodes import Detached
from homespec.graph.identity import Key, Renames
from homespec.graph.nodes import FeatureGate, Gate, Mix, Node, Placed, Port, SelfGate
from homespec.lower import Lowered

NOTHING: Key = ("", "nothing")
SECTIONS: dict[type[Node], str] = {FeatureGate: "feature", SelfGate: "self", Mix: "mixture"}
"""The keys of `gates` that configure these nodes."""


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
        node = matches[0].new
        assert isinstance(node, Mix)
        now = f"now {len(node.sets)} sets"
        yield _of_mixtures(pair, matches, " and ".join(parts), now, "was otherwise")


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
        does = f"{verb} gradients to {listed(sorted(was ^ now))}"
        label = f"now {len(now)} sets without gradients"
        yield _of_mixtures(pair, matches, does, label, f"was {len(was)}")


def _of_mixtures(pair: Pair, matches: list[Match], does: str, now: str, was: str) -> Finding:
    """The finding that the gates of mixtures do something else; the first one is named."""
    old, new = matches[0]
    assert isinstance(new, Mix)
    others = and_others(len(matches), "gate")
    return Finding(
        where_configured(pair.new, new, "sees"),
        f"the gate of `{new.place}` in layer `{new.layer}` {does}"
        + (f", and so on for{others.removeprefix(' and')}" if others else ""),
        now,
        (Label(where_configured(pair.old, old, "sees"), was),),
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


def where_configured(side: Lowered, node: Node, key: str) -> Span:
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


GATE_READING_CHANGES = (gate_inputs, mask, foreign_gradients, gate_detach)
