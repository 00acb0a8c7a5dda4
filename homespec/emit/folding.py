"""Stage 6, emit: what a file for inference folds into its weights as it loads them."""

from __future__ import annotations

from typing import Any

from homespec.emit.layout import Group, literal, mapping, packed
from homespec.graph import Graph
from homespec.graph.nodes import ExpertSet
from homespec.variant import Variant


def folding(graph: Graph, variant: Variant) -> dict[str, Any]:
    """What `serving_logical.py.jinja` needs: a table for batch norms and one for Dice's."""
    sets = graph.of(ExpertSet)
    norms = _table(
        "FOLDED_NORM",
        {s.name: (s.count, len(s.widths) - 2, s.eps) for s in sets if s.norm == "folded"},
    )
    dice = _table(
        "FOLDED_DICE",
        {s.name: (s.count, s.eps) for s in sets if s.activation == "folded_dice"},
    )
    return {
        "serving": variant.serving,
        "folds_norm": bool(norms),
        "folds_dice": bool(dice),
        "folded": "\n".join(filter(None, (norms, dice))),
    }


def _table(name: str, rows: dict[str, tuple[float, ...]]) -> str:
    table: Group = mapping([(key, literal(row)) for key, row in rows.items()])
    return packed(name, table) if rows else ""
