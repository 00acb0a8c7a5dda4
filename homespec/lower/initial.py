"""Stage 4, lower: which Linears of MLPs start for their activation (docs/initial-weights.md)."""

from __future__ import annotations

from typing import Literal

from homespec.graph import Graph
from homespec.graph.nodes import Activation, ExpertSet, Gate, SelfGate, Tower
from homespec.graph.sequences import Din, Sequence
from homespec.schema import Spec

Following = Literal[Activation, "dice", "none"]
"""What may follow a Linear. DICE normalises by itself, so that no channel is off for all rows: what
is before it starts as before nothing."""


def starts(
    spec: Spec, hidden: int, between: Following, after: Following = "none"
) -> tuple[Activation, ...]:
    """The activations for which the Linears of an MLP start, from the first Linear on.

    `between` comes after each of the `hidden` layers, `after` after the last Linear. For MLPs that
    no norm follows.
    """
    if spec.init == "torch":
        return ()
    following = [*[between] * hidden, after]
    return tuple(each for each in following if each != "dice" and each != "none")


def has_starts(graph: Graph) -> bool:
    """Whether any MLP of a graph has Linears that start for their activations."""
    mlps: list[ExpertSet | Gate | Tower | Din] = [*graph.of(ExpertSet), *graph.of(Tower)]
    mlps += [*graph.of(Gate), *graph.of(SelfGate)]
    mlps += [n.encoder for n in graph.of(Sequence) if isinstance(n.encoder, Din)]
    return any(mlp.starts for mlp in mlps)
