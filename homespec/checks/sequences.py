"""HS420: design lint of sequences."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, Severity, rule
from homespec.graph import Graph
from homespec.graph.sequences import Dien, Sequence
from homespec.source import Document

MOST_STEPS = 32
"""homespec's own threshold: each step waits for the one before, forward and backward."""


@rule("HS420", "long-recurrence", Severity.NOTE)
def long_recurrence(graph: Graph, document: Document) -> Iterator[Finding]:
    """DIEN over many events.

    Its two GRUs go through the events one by one: a step can only begin when the one before it is
    done, forward and backward. The time of a training step grows with `max_len`, and for inference
    that of compiling, too. It is a note, since DIEN was published with longer histories. DIN weighs
    all events at once; SIM and TWIN are made for long histories.
    """
    for node in graph.of(Sequence):
        if isinstance(node.encoder, Dien) and node.max_len > MOST_STEPS:
            yield Finding(
                document.span(("features", node.short, "sequence", "max_len")),
                f"`{node.short}` runs DIEN's GRUs over {node.max_len} events, one after the other",
                label=f"more than {MOST_STEPS} steps",
                help="shorten it, or use `sim` or `twin` for what lies further back",
            )
