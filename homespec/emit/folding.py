"""Stage 7, emit: weights by logical name, and what loading folds into them for inference."""

from __future__ import annotations

from homespec.emit.layout import literal, mapping, packed
from homespec.graph import Graph
from homespec.graph.nodes import ExpertSet


def folded_constants(graph: Graph) -> list[str]:
    """Of each expert set with folded statistics: how many experts, the last Linear, and eps."""
    sets = graph.of(ExpertSet)
    norms = [(s.name, (s.count, len(s.widths) - 2, s.eps)) for s in sets if s.norm == "folded"]
    dice = [(s.name, (s.count, s.eps)) for s in sets if s.activation == "folded_dice"]
    constants = []
    for name, rows in (("FOLDED_NORM", norms), ("FOLDED_DICE", dice)):
        if rows:
            table = mapping([(key, literal(row)) for key, row in rows])
            constants.append(packed(name, table))
    return constants


def logical_blocks(graph: Graph, serving: bool, fitted: bool, scaled: bool) -> list[str]:
    """The forms that functions of logical names have in the file."""
    sets = graph.of(ExpertSet)
    norm = any(s.norm == "folded" for s in sets)
    dice = any(s.activation == "folded_dice" for s in sets)
    forms = []
    if serving:
        forms.append("folded" if norm or dice else "serving")
    elif fitted or scaled:
        forms.append("scaled" if scaled else "fitted")
    variants = [f"logical.load_logical_state__{form}" for form in forms]
    if norm != dice:
        variants.append(f"logical.folded__{'norm' if norm else 'dice'}")
    if fitted or scaled:
        variants.append(f"logical.copy_state__{'scaled' if scaled else 'fitted'}")
    if scaled:
        variants.append(f"logical.find_unset__{'both' if fitted else 'scaled'}")
    return variants
