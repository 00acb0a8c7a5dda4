"""Stage 7, emit: what the letters of shapes mean in a generated file."""

from __future__ import annotations

import re
import textwrap

from homespec.graph import Graph
from homespec.graph.nodes import (
    ExpertSet,
    FeatureGate,
    FusedFeatureGate,
    Input,
    SelfGate,
)
from homespec.graph.sequences import Sequence

PLAIN = """\
Shapes stand at the end of names: B batch, V width of v ({width}), N width of an input, D expert
width, K experts, T tasks."""
LAYERS = """\
A layer reads states x of the layer before and returns its own, z. A set is the experts of one node;
e are their outputs, level by level in the order of their names. A gate's columns are those of the
sets that it may see, from the root down."""
SELF_GATES = "The weights of a self gate are added to those of its node's gate."
PATHS = "What ends in `path` reads the states from a node up to the root, side by side."
RANGES = "`a_to_b` is a stack of all nodes from a to b."
LOGICAL = """\
A logical name is what a weight is called in the unstacked model (`compile --no-optimize`), such as
`{name}`."""
LETTERS = "In the trunk the batch B is the last axis. Letters, and suffixes of names, are axes:"
MEANINGS = {
    "V": "the width of the input ({width})",
    "N": "that of what is read",
    "D": "that of an expert",
    "G": "inputs",
    "M": "matrices stacked in one tensor",
    "O": "outputs",
    "S": "sets",
    "K": "experts of a set",
    "L": "LoRAs",
    "R": "their rank",
    "T": "tasks",
    "F": "features",
}
EVENTS = {
    "L": "events",
    "K": "those that a search finds",
    "E": "width of an event",
    "Q": "width of what it has in common with the candidate",
    "W": "width of the rest",
    "H": "hidden units",
    "A": "heads of an attention",
}


def legend(graph: Graph, plain: bool, code: str) -> str:
    """The end of the docstring of a file whose text is `code`: what is in it is explained."""
    (v,) = graph.of(Input)
    events = [
        f"{letter} {meaning}" for letter, meaning in EVENTS.items() if _is_suffix(letter, code)
    ]
    sequences = f"Of sequences: {', '.join(events)}." if graph.of(Sequence) else ""
    if plain:
        return "\n".join([PLAIN.format(width=v.width), *_wrapped(sequences)])
    letters = ", ".join(
        f"{letter} {meaning.format(width=v.width)}"
        for letter, meaning in MEANINGS.items()
        if _is_axis(letter, code) and (letter not in "LR" or _has_loras(graph))
    )
    experts = next(iter(graph.of(ExpertSet)), None)
    parts = [
        LAYERS,
        SELF_GATES if graph.of(SelfGate) else "",
        PATHS if re.search(r"_path\b", code) else "",
        RANGES if re.search(r"(?<!nan)_to_[a-z]", code) else "",
        LOGICAL.format(name=f"{experts.name}.0.linears.0.weight") if experts else "",
        f"{LETTERS} {letters}.",
    ]
    text = " ".join(filter(None, parts)).replace("\n", " ")
    return "\n".join([*_wrapped(text), *_wrapped(sequences)])


def _has_loras(graph: Graph) -> bool:
    return bool(graph.of(FeatureGate) or graph.of(FusedFeatureGate))


def _is_axis(letter: str, code: str) -> bool:
    """Whether a shape such as `[S * L, N, B]` has the letter."""
    return _is_suffix(letter, code) or bool(re.search(rf"\[[^\]\n]*\b{letter}\b", code))


def _is_suffix(letter: str, code: str) -> bool:
    """Whether a name such as `x_BLE` ends in it."""
    return bool(re.search(rf"[a-z]_[A-Z]*{letter}[A-Z]*\d?\b", code))


def _wrapped(text: str) -> list[str]:
    """The text in lines; options such as `--no-optimize` stay whole."""
    return textwrap.wrap(text, 100, break_on_hyphens=False)
