"""Stage 4, lower: which Linears of MLPs start with He's weights (docs/learning.md)."""

from __future__ import annotations

from homespec.graph import Graph
from homespec.graph.nodes import ExpertSet, Gate, SelfGate, Tower
from homespec.graph.sequences import Din, Sequence
from homespec.schema import Spec

RECTIFIERS = ("relu", "swish")
"""The activations that pass on about half of a variance, which He's weights make up for.

DICE is none of them: it normalises by itself, so that no channel is off for all rows.
"""


def he_layers(spec: Spec, hidden: int, between: str, after: str = "none") -> int:
    """How many Linears of an MLP, from the first on, start with He's weights.

    They are those that an activation follows: `between` comes after each of the `hidden` layers,
    `after` after the last Linear. For MLPs that no norm follows.
    """
    if spec.init == "torch" or between not in RECTIFIERS:
        return 0
    return hidden + (after in RECTIFIERS)


def has_he_layers(graph: Graph) -> bool:
    """Whether any MLP of a graph starts with He's weights."""
    mlps: list[ExpertSet | Gate | Tower | Din] = [*graph.of(ExpertSet), *graph.of(Tower)]
    mlps += [*graph.of(Gate), *graph.of(SelfGate)]
    mlps += [n.encoder for n in graph.of(Sequence) if isinstance(n.encoder, Din)]
    return any(mlp.he_layers for mlp in mlps)
