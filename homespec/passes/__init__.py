"""Stage 5, passes: Graph -> Graph. Each may assume a valid graph and must leave one."""

from collections.abc import Callable

from homespec.graph import Graph
from homespec.passes.batch import (
    batch_experts,
    batch_feature_gates,
    batch_features,
    batch_gates,
    batch_mixtures,
    batch_projections,
    batch_self_gates,
    batch_towers,
)
from homespec.passes.project import project
from homespec.passes.verify import verify

Pass = Callable[[Graph], Graph]

PASSES: dict[str, Pass] = {
    "batch-features": batch_features,
    "project": project,
    "batch-projections": batch_projections,
    "batch-feature-gates": batch_feature_gates,
    "batch-experts": batch_experts,
    "batch-gates": batch_gates,
    "batch-self-gates": batch_self_gates,
    "batch-mixtures": batch_mixtures,
    "batch-towers": batch_towers,
}
"""The optimising passes by name, in the order in which they run."""


def optimise(graph: Graph) -> Graph:
    """Run all passes; the graph is verified before the first and after each."""
    verify(graph, "lowering")
    for name, run in PASSES.items():
        graph = run(graph)
        verify(graph, name)
    return graph


__all__ = ["PASSES", "Pass", "optimise", "verify"]
