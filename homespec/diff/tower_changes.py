"""HS656, HS657, HS660: changes of towers; HS648, HS649: activations with weights, dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter

from homespec.checks.causes import by_cause, listed
from homespec.diagnostics import Finding
from homespec.diff.breaks import Breaks
from homespec.diff.pair import Match, Pair, both, change
from homespec.diff.what import what_of, widths_after
from homespec.graph.feature_nodes import Feature
from homespec.graph.nodes import ExpertSet, Gate, Node, SelfGate, Tower
from homespec.graph.sequences import Sequence
from homespec.resolve.layers import Path


def _towers(pair: Pair, key: str, value: Callable[[Node], object], words: str) -> Iterator[Finding]:
    """Towers for which a key of `tower` or `towers` differs, grouped by the lines that set it."""
    matches = [match for match in pair.nodes(Tower) if value(match.old) != value(match.new)]

    def cause(match: Match) -> object:
        return (*_giving(pair, match, key), value(match.old), value(match.new))

    for same in by_cause(matches, cause).values():
        was, now = map(value, same[0])
        if "" not in (was, now):
            old, new = _giving(pair, same[0], key)
            yield pair.finding(
                old or ("tasks", _task(same[0].old)), new or ("tasks", _task(same[0].new)),
                words.format(what=what_of(same), was=was, now=now),
                was=f"was {was}", now=f"now {now}",
            )  # fmt: skip


def _giving(pair: Pair, match: Match, key: str) -> tuple[Path, Path]:
    """The place in each spec that sets a key of a tower; none for a default."""
    sides = ((pair.old, match.old), (pair.new, match.new))
    old, new = (
        next(
            (p for p in (("tasks", _task(node), "tower", key), ("towers", key)) if side.has(p)), ()
        )
        for side, node in sides
    )
    return old, new


def _task(node: Node) -> str:
    assert isinstance(node, Tower)
    return node.task


@change("HS656", "tower-widths", Breaks.CHECKPOINT)
def tower_widths(pair: Pair) -> Iterator[Finding]:
    """Towers of other widths: their weights cannot be kept.

    Layers with unchanged widths keep their weights; the others start fresh.
    """
    yield from _towers(pair, "hidden", widths_after, "{what} has the widths {now}, had {was}")


@change("HS657", "tower-activation", Breaks.NUMERICS)
def tower_activation(pair: Pair) -> Iterator[Finding]:
    """Towers with another activation.

    All weights are kept, but none of them fits the new activation. Continue training, or keep the
    activation.
    """
    yield from _towers(pair, "activation", _tower_activation, "{what} uses {now}, used {was}")


def _tower_activation(node: Node) -> str:
    assert isinstance(node, Tower)
    return node.activation if len(node.widths) > 2 else ""


@change("HS660", "tower-norm", Breaks.CHECKPOINT)
def tower_norm(pair: Pair) -> Iterator[Finding]:
    """Towers whose hidden layers are normalised otherwise.

    Batch norm has statistics, and removes biases. What both norms have is kept: batch and layer
    norm have a weight and a bias for each hidden layer.
    """
    yield from _towers(pair, "norm", attrgetter("norm"), "{what} has norm {now}, had {was}")


def tower_norm_numbers(pair: Pair, key: str, value: Callable[[Node], object]) -> Iterator[Finding]:
    """Towers whose norms have another `norm_eps` or `norm_momentum`; 0 stands for no norm."""
    words = f"{{what}} has {key.removeprefix('norm_')} {{now}}, had {{was}}"
    yield from _towers(pair, key, lambda node: value(node) or "", words)


LEARNED = {"dice": "DICE", "prelu": "PReLU"}
"""The activations that have weights."""


@change("HS648", "activation-weights", Breaks.CHECKPOINT)
def activation_weights(pair: Pair) -> Iterator[Finding]:
    """Activations that have weights, where the old ones have others or none.

    PReLU has the slopes below 0, DICE has those and statistics. New parts start fresh, and removed
    parts are dropped; all other weights are kept.
    """
    for kind, verb in ((ExpertSet, "have"), (Gate, "has"), (SelfGate, "has")):
        for matches in pair.changed(kind, _learned):
            was, now = map(_learned, matches[0])
            yield both(matches[0], f"{what_of(matches)} {verb} {now}, had {was}", was, now)
    yield from _towers(pair, "activation", _learned, "{what} has {now}, had {was}")


def _learned(node: Node) -> str:
    """The weights of a node's activations."""
    assert isinstance(node, ExpertSet | Gate | Tower)
    between = node.activation if isinstance(node, Tower) else node.hidden_activation
    words = [LEARNED[between]] if between in LEARNED and len(node.widths) > 2 else []
    if isinstance(node, ExpertSet) and node.activation in LEARNED:
        words.append(LEARNED[node.activation])
    return f"weights of {' and '.join(dict.fromkeys(words))}" if words else "no such weights"


@change("HS649", "dropout", Breaks.TRAINING)
def dropout(pair: Pair) -> Iterator[Finding]:
    """Another share of dropout in experts, towers or features.

    A trained model stays as it is: dropout acts in training alone. From now on it learns with more
    noise, or with less.
    """
    for matches in pair.changed(ExpertSet, _dropout):
        was, now = map(_dropout, matches[0])
        said = f"{what_of(matches)} drop {now} of their outputs, dropped {was}"
        yield both(matches[0], said, was, now)
    words = "{what} drops {now} of what hidden layers give, dropped {was}"
    yield from _towers(pair, "dropout", _dropout, words)
    for kind in (Feature, Sequence):
        for matches in pair.changed(kind, _dropout):
            was, now = map(_dropout, matches[0])
            names = listed([n.short for _, n in matches if isinstance(n, Feature | Sequence)])
            yield both(matches[0], f"dropout of {names} is {now}, was {was}", was, now)


def _dropout(node: Node) -> str:
    """The share of outputs that are dropped."""
    assert isinstance(node, ExpertSet | Tower | Feature | Sequence)
    return f"{node.dropout:g}"


TOWER_CHANGES = (tower_widths, tower_activation, tower_norm, activation_weights, dropout)
