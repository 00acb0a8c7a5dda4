"""A description of the mixture gates of a model: what they choose from, and what they read."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.analysis.summary import StateRow, summarise
from homespec.lower import Lowered


def describe_gates(lowered: Lowered) -> Iterator[str]:
    """A line for each layer, and below it a line for each state."""
    for layer in summarise(lowered).layers:
        yield f"layer {layer.name}"
        yield from (f"  {_state(row)}" for row in layer.states)


def _state(row: StateRow) -> str:
    """`watch mixes 2×shared, 2×watch; its gate reads v; self gate on watch`."""
    node, _, index = row.node.partition(".")
    name = f"{node} (for expert {index})" if index else node
    mixes = ", ".join(f"{count}×{place}" for place, count in row.mixes.items())
    reads = " ⊕ ".join(row.gate_reads)
    gate = f"its gate reads {reads}" if reads else "one choice, no gate"
    own = f"; self gate on {', '.join(row.self_gates)}" if row.self_gates else ""
    return f"{name} mixes {mixes}; {gate}{own}"
