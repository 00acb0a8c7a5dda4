"""Stage 7, emit: weights by logical name, and how loading folds batch norms for inference."""

from __future__ import annotations

from homespec.emit.layout import literal, mapping, packed
from homespec.graph import Graph
from homespec.graph.feature_nodes import SPLIT
from homespec.graph.nodes import ExpertSet, Tower

NOTES = {
    "norm": "of each expert set the number of experts, where its last Linear is, and eps",
    "hidden": "of each tower the number of hidden layers, and eps",
    "dice": "",
}
"""Descriptions of the rows of each table; DICE has the same rows as norms."""


def folded_constants(graph: Graph) -> list[str]:
    """A table for each kind of folding, after a comment that describes its rows."""
    kinds = _folded(graph)
    notes = [NOTES[kind] for kind in kinds if NOTES[kind]] or [NOTES["norm"]]
    tables = [
        packed(f"FOLDED_{kind.upper()}", mapping([(key, literal(row)) for key, row in rows]))
        for kind, rows in kinds.items()
    ]
    return [f"# What loading folds: {'; '.join(notes)}.", *tables] if tables else []


def _folded(graph: Graph) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    """The nodes with folded statistics by kind, with the data that folding needs."""
    sets, towers = graph.of(ExpertSet), graph.of(Tower)
    kinds: dict[str, list[tuple[str, tuple[float, ...]]]] = {
        "norm": [(s.name, (s.count, len(s.widths) - 2, s.eps)) for s in sets if s.norm == "folded"],
        "hidden": [(t.name, (len(t.widths) - 2, t.eps)) for t in towers if t.norm == "folded"],
        "dice": [(s.name, (s.count, s.eps)) for s in sets if s.activation == "folded_dice"],
    }
    return {kind: rows for kind, rows in kinds.items() if rows}


def logical_blocks(
    graph: Graph, serving: bool, fitted: bool, scaled: bool, words: bool
) -> list[str]:
    """The variants of the functions for logical names in the file."""
    kinds = sorted(_folded(graph))
    forms = []
    if serving:
        forms.append("folded" if kinds else "serving")
    elif fitted or scaled or words:
        forms.append("scaled" if scaled or words else "fitted")
    variants = [f"logical.load_logical_state__{form}" for form in forms]
    if kinds and kinds != ["dice", "norm"]:
        variants.append(f"logical.folded__{'_'.join(kinds)}")
    if (fitted or scaled or words) and SPLIT not in graph:
        variants.append(f"logical.copy_state__{'scaled' if scaled or words else 'fitted'}")
    if words:
        variants.append("logical.find_unset__kept")
    elif scaled:
        variants.append(f"logical.find_unset__{'both' if fitted else 'scaled'}")
    return variants


def split_blocks(kept: bool) -> list[str]:
    """The forms where weights over v are in two parts; values may be `kept` that are fitted."""
    copy = "split_unset" if kept else "split"
    return ["logical.logical_state__split", f"logical.copy_state__{copy}"]
