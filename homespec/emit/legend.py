"""Stage 7, emit: what the letters of shapes mean in a generated file."""

from __future__ import annotations

import textwrap

from homespec.graph import Graph
from homespec.graph.nodes import (
    FeatureGate,
    FusedFeatureGate,
    Input,
    Mix,
    Node,
    Projection,
)
from homespec.graph.sequences import Sequence

PLAIN = """\
Shapes stand at the end of names: B batch, V width of v ({width}), N width of an input, D expert
width, K experts, T tasks."""
LAYERS = """\
A layer reads states x of the layer before and returns its own, z; e are its experts, level by level
in the order of their names. A gate's columns are those of the sets that it may see, from the root
down; what ends in `path` reads the states from a node up to the root, side by side. A stack is
named after its first and last node, or all of a node's tasks or groups. In the trunk the batch B is
the last axis."""
EVENTS = """\
Of sequences: L events, K those that a search finds, E width of an event, Q that of what it has in
common with the candidate, W that of the rest, A heads of an attention."""


def legend(graph: Graph, plain: bool) -> str:
    """The end of the file's docstring."""
    (v,) = graph.of(Input)
    parts = [PLAIN.format(width=v.width)]
    if not plain:
        letters = ", ".join(_letters(graph, v.width))
        parts = [*textwrap.wrap(f"{LAYERS} {letters}.".replace("\n", " "), 100)]
    return "\n".join([*parts, *([EVENTS] if graph.of(Sequence) else [])])


def _letters(graph: Graph, width: int) -> list[str]:
    def has(*kinds: type[Node]) -> bool:
        return any(graph.of(kind) for kind in kinds)

    gated = has(FeatureGate, FusedFeatureGate)
    letters = [f"V is the width of the input ({width})", "N that of what is read", "D of an expert"]
    letters += ["G inputs", "M matrices stacked in one tensor", "O outputs"]
    letters += ["S sets"] if gated or has(Projection) else []
    letters += ["K experts of a set"] if has(Mix) else []
    letters += ["L LoRAs of rank R"] if gated else []
    return [*letters, "T tasks"]
