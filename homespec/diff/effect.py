"""The values of the new model that stay the same when weights are carried over.

A value stays the same if its node computes the same function, keeps all of its weights, and reads
values that stay the same. Columns and experts may be in another order. If a node reads more than
before, or weighs more experts, its value stays the same as long as the new parts of its weights are
neutral: columns of 0 for new inputs, closed gates for new experts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

from homespec.diff.carry import Carried, Plan, kept
from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature, Input, Reading
from homespec.graph.identity import Key, Renames
from homespec.graph.nodes import (
    ExpertSet,
    FeatureGate,
    Gate,
    Mix,
    Node,
    Port,
    Product,
    SelfGate,
    Tower,
)
from homespec.graph.sequences import Din, Sequence, Sim


class Change(IntEnum):
    """How much a value changes, in ascending order."""

    SAME = 0
    NEUTRAL = 1
    """The same if the new parts of weights start as neutral ones."""
    CHANGED = 2
    NEW = 3
    """The old model has no such value."""


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect on a node's value and, if it changes, the node that causes it and the reason."""

    change: Change
    cause: Node | None = None
    reason: str = ""


SAME = Effect(Change.SAME)
NEW_NAMES = Renames()
"""The nodes of the new graph already have their new names."""

FUNCTION: dict[type[Node], tuple[str, ...]] = {
    Feature: (
        "source", "hashed", "words", "boundaries", "fitted", "numbers", "projected", "learned",
        "scale", "length", "pool", "weighted",
    ),
    Sequence: ("max_len",),
    FeatureGate: ("mix", "activation"),
    ExpertSet: ("norm", "activation", "hidden_activation", "eps"),
    Gate: ("hidden_activation",),
    SelfGate: ("hidden_activation",),
    Tower: ("activation", "norm", "eps"),
}  # fmt: skip
"""The fields that determine a node's function, apart from its weights and inputs."""


WORDS = {
    "source": "kind of input",
    "hashed": "way to find rows",
    "fitted": "number of quantiles",
    "words": "size of its vocabulary",
    "numbers": "length",
    "projected": "projection",
    "learned": "vector where missing",
    "length": "number of values",
    "pool": "way to pool values",
    "weighted": "use of weights",
    "max_len": "number of events",
    "mix": "mixture of LoRAs",
    "hidden_activation": "activation between layers",
}
"""What messages call fields whose names are not clear by themselves."""


def encoder_of(node: Sequence, renames: Renames) -> object:
    """The encoder of a sequence under the new names, without values used only in training."""
    encoder = node.encoder
    if isinstance(encoder, Din):
        return replace(encoder, momentum=0.0, starts=())
    return replace(encoder, by=renames.feature(encoder.by)) if isinstance(encoder, Sim) else encoder


class Effects:
    """The effects of a change by node of the new graph, from the inputs to the towers."""

    def __init__(self, old: Graph, new: Graph, renames: Renames, plan: Plan) -> None:
        self._old, self._new, self._renames = old, new, renames
        self._before = {renames.key(node): node for node in old}
        self._carried: dict[Key, list[Carried]] = {}
        for (key, _), carried in plan.carried.items():
            self._carried.setdefault(key, []).append(carried)
        self._dropped = {tensor.key[0] for tensor in plan.dropped}
        self.by_node: dict[str, Effect] = {}
        for node in new:
            self.by_node[node.name] = self._effect(node)

    def towers(self) -> dict[str, Effect]:
        """The effect on the logits of each task of the new spec, products included."""
        heads = [node for node in self._new if isinstance(node, Tower | Product)]
        return {node.task: self.by_node[node.name] for node in heads}

    def _effect(self, node: Node) -> Effect:
        if isinstance(node, Input | Reading):  # which features are read is a matter of weights
            known = [p for p in node.reads if self._new_key(p) in self._before]
            effects: Iterable[Effect] = (self.by_node[port.node] for port in known)
            return max(effects, key=lambda effect: effect.change, default=SAME)
        key = NEW_NAMES.key(node)
        old = self._before.get(key)
        if old is None:
            return Effect(Change.NEW, node, "is new")
        effects = [*self._of_reads(old, node), *self._own(key, old, node)]
        return max(effects, key=lambda effect: effect.change, default=SAME)

    def _own(self, key: Key, old: Node, node: Node) -> Iterator[Effect]:
        """Changes of a node itself: its function, its weights, and its inputs."""
        for field in FUNCTION.get(type(node), ()):
            before, after = getattr(old, field), getattr(node, field)
            if before != after and not _is_idle(field, old, node):
                yield Effect(Change.CHANGED, node, f"has another {WORDS.get(field, field)}")
        if isinstance(old, Sequence) and isinstance(node, Sequence):
            yield from self._of_sequence(old, node)
        if isinstance(old, Gate) and isinstance(node, Gate) and 1 in (old.choices, node.choices):
            yield from _of_single_choice(old, node)
        else:
            yield from self._of_weights(key, old, node)
        if isinstance(old, Mix) and isinstance(node, Mix):
            yield from self._of_mix(old, node)

    def _of_sequence(self, old: Sequence, node: Sequence) -> Iterator[Effect]:
        """Changes of the encoder, except statistics of training.

        The first field shows which events exist.
        """
        encoders = [encoder_of(old, self._renames), encoder_of(node, NEW_NAMES)]
        if encoders[0] != encoders[1]:
            yield Effect(Change.CHANGED, node, "has another encoder")
        if self._renames.feature(old.fields[0].name) != node.fields[0].name:
            yield Effect(Change.CHANGED, node, "counts events by another field")

    def _of_weights(self, key: Key, old: Node, node: Node) -> Iterator[Effect]:
        if key in self._dropped and not isinstance(node, ExpertSet):
            yield Effect(Change.CHANGED, node, "loses weights")
        for carried in self._carried.get(key, ()):
            if carried.old:
                yield from _of_resized(carried, node)
            elif isinstance(old, FeatureGate) and carried.was_only:
                yield Effect(Change.NEUTRAL, node, "mixes LoRAs, was one alone")
            elif not _is_addition(carried, old):
                yield Effect(Change.CHANGED, node, "has weights that start fresh")

    def _of_mix(self, old: Mix, node: Mix) -> Iterator[Effect]:
        before, after = self._old_key, self._new_key
        sets, now = set(map(before, old.sets)), set(map(after, node.sets))
        if not sets <= now:
            yield Effect(Change.CHANGED, node, "mixes fewer sets of experts")
        selves = {(before(gate), before(old.sets[at])) for gate, at in old.residuals}
        if selves != {(after(gate), after(node.sets[at])) for gate, at in node.residuals}:
            yield Effect(Change.CHANGED, node, "has other self gates")

    def _of_reads(self, old: Node, node: Node) -> Iterator[Effect]:
        """Effects on the values that it already read.

        Additional ones are a matter of its weights.
        """
        read = {self._old_key(port) for port in self._old.values(old.reads)}
        for port in self._new.values(node.reads):
            key, through = self._new_key(port), port
            while key not in read and key not in self._before and self._is_feature_gate(through):
                yield Effect(Change.NEUTRAL, self._new[through.node], "is new and starts at 1")
                through = self._new.attached(self._new[through.node].reads[0])
                key = self._new_key(through)
            if key in read:
                read.remove(key)
                yield self.by_node[through.node]
        if read and not isinstance(node, Mix):
            yield Effect(Change.CHANGED, node, "reads other values")
        if isinstance(node, Product) and len(node.reads) != len(old.reads):
            yield Effect(Change.CHANGED, node, "has other factors")

    def _is_feature_gate(self, port: Port) -> bool:
        return isinstance(self._new[port.node], FeatureGate)

    def _old_key(self, port: Port) -> Key:
        return self._renames.value(self._old[port.node])

    def _new_key(self, port: Port) -> Key:
        return NEW_NAMES.value(self._new[port.node])


def _is_idle(field: str, old: Node, node: Node) -> bool:
    """Whether neither node uses a field."""
    match old, node:
        case FeatureGate(), FeatureGate():
            return field == "mix" and max(old.loras, node.loras) == 1
        case Tower(), Tower():
            return len(node.widths) == 2
        case ((ExpertSet() | Gate()), (ExpertSet() | Gate())):
            return "activation" in field and field != "activation" and len(node.widths) == 2
    return field == "boundaries"  # labels of the table's rows cover these


def _of_single_choice(old: Gate, node: Gate) -> Iterator[Effect]:
    """A gate over one expert has no weights, and a self gate over one expert is a sigmoid."""
    if old.choices == node.choices:
        return
    opens = old.choices == 1 and not isinstance(node, SelfGate)
    reason = f"weighs {node.choices} experts, was {old.choices}"
    yield Effect(Change.NEUTRAL if opens else Change.CHANGED, node, reason)


NEUTRAL = {"input": "reads more than before", "choice": "weighs more than before"}
"""Axes that may grow without changing the value."""
LESS = {
    "input": "reads less than before",
    "choice": "weighs less than before",
    "rank": "has a lower rank",
    "rows": "loses rows",
    "channels": "has fewer channels",
}
"""Axes that lose parts."""


def _of_resized(carried: Carried, node: Node) -> Iterator[Effect]:
    assert carried.old
    for runs, now, was in zip(carried.runs, carried.tensor.axes, carried.old.axes, strict=True):
        if kept(runs) < was.size:
            yield Effect(Change.CHANGED, node, LESS[now.role])
        elif kept(runs) < now.size and now.role in NEUTRAL:
            yield Effect(Change.NEUTRAL, node, NEUTRAL[now.role])
        elif kept(runs) < now.size and now.role == "rows":
            yield Effect(Change.CHANGED, node, "has rows that are new")


def _is_addition(carried: Carried, old: Node) -> bool:
    """Whether a new tensor belongs to an expert or LoRA that the node did not have."""
    match old:
        case ExpertSet():
            return carried.tensor.part >= old.count
        case FeatureGate():
            return carried.tensor.part >= old.loras
    return False
