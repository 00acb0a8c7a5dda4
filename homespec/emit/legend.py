"""Stage 7, emit: the legend of a generated file, which explains the letters of shapes."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from homespec.graph import Graph
from homespec.graph.feature_nodes import SplitInput
from homespec.graph.inputs import width_of
from homespec.graph.nodes import FeatureGate, FusedFeatureGate, SelfGate
from homespec.graph.sequences import Sequence

PLAIN = """\
The letters at the end of a name are its shape: B batch, V width of v ({width}), N width of an
input, D expert width, K experts, T tasks."""
LAYERS = """\
A layer reads the states x of the previous layer and returns its own, z. The outputs of its expert
sets are e, in the order of the nodes, level by level. The columns of a gate are the experts that it
sees, in order from the root."""
SELF_GATES = "A self gate adds its weights to those of its node's gate."
SINGLE = "Over a single expert it is a sigmoid, because a softmax would always be 1."
PATHS = "A name that ends in `path` stands for the concatenated states from a node up to the root."
RANGES = "`a_to_b` stands for a stack of all nodes from a to b."
LOGICAL = "Logical names of weights are those of the unstacked model (`compile --no-optimize`)."
LETTERS = "Axes: B batch (the last one in the trunk)"
MEANINGS = {
    "V": "V width of the input ({width})",
    "U": "U of it the user's ({user})",
    "N": "N width of an input",
    "D": "D of an expert",
    "G": "G inputs",
    "M": "M stacked matrices",
    "O": "O outputs",
    "S": "S sets",
    "K": "K experts of a set",
    "L": "L LoRAs",
    "R": "R their rank",
    "T": "T tasks",
    "F": "F features",
}
EVENTS = {
    "L": "events",
    "K": "events that a search finds",
    "E": "width of an event",
    "Q": "width of the fields shared with the candidate",
    "W": "width of the rest",
    "H": "hidden units",
    "A": "heads of an attention",
}


class Shown(NamedTuple):
    """The parts of an optimised file that its legend explains."""

    axes: set[str]
    """The letters of shapes."""
    suffixes: set[str]
    """The letters at the ends of names."""
    paths: bool = False
    """Whether there are names that end in `path`."""
    ranges: bool = False
    """Whether there are names of the form `a_to_b`."""


def legend(graph: Graph, plain: bool, shown: Shown) -> str:
    """The last part of a file's docstring, which explains what is `shown`."""
    width = width_of(graph)
    events = ", ".join(f"{a} {meaning}" for a, meaning in EVENTS.items() if a in shown.suffixes)
    sequences = f"Sequences: {events}." if graph.of(Sequence) else ""
    if plain:
        return "\n".join([PLAIN.format(width=width), *_wrapped(sequences)])
    meanings = {a: m for a, m in MEANINGS.items() if a not in "LR" or _has_loras(graph)}
    user = sum(split.user for split in graph.of(SplitInput))
    axes = [m.format(width=width, user=user) for a, m in meanings.items() if a in shown.axes]
    parts = [
        LAYERS,
        SELF_GATES if graph.of(SelfGate) else "",
        SINGLE if any(gate.squash == "sigmoid" for gate in graph.of(SelfGate)) else "",
        PATHS if shown.paths else "",
        RANGES if shown.ranges else "",
        LOGICAL,
        f"{', '.join([LETTERS, *axes])}.",
    ]
    text = " ".join(filter(None, parts)).replace("\n", " ")
    return "\n".join([*_wrapped(text), *_wrapped(sequences)])


def _has_loras(graph: Graph) -> bool:
    return bool(graph.of(FeatureGate) or graph.of(FusedFeatureGate))


def _wrapped(text: str) -> list[str]:
    """The text in lines; options such as `--no-optimize` are not broken."""
    return textwrap.wrap(text, 100, break_on_hyphens=False)
