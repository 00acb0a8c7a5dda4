"""Stage 6, passes: Graph -> Graph. Each may assume a valid graph and must leave one."""

from collections.abc import Callable

from homespec.graph import Graph
from homespec.passes.batch_nodes import (
    batch_experts,
    batch_feature_gates,
    batch_features,
    batch_gates,
    batch_mixtures,
    batch_projections,
    batch_self_gates,
    batch_towers,
)
from homespec.passes.drop_trivial_gates import drop_trivial_gates
from homespec.passes.fuse_gates import fuse_gates
from homespec.passes.pipeline import Pass, Step, pipeline, run
from homespec.passes.verify import verify
from homespec.variant import Variant

PASSES: dict[str, Pass] = {
    "drop-trivial-gates": drop_trivial_gates,
    "batch-features": batch_features,
    "fuse-gates": fuse_gates,
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
    """Run all optimising passes; the graph is verified before the first and after each."""
    return run(graph, PASSES)


def compiled(graph: Graph, variant: Variant, watch: Callable[[Step], None] | None = None) -> Graph:
    """The graph of a variant; `watch` is told of each pass. Raises UnknownNameError for `skip`."""
    return run(graph, pipeline(variant, PASSES), watch)


__all__ = ["PASSES", "Pass", "Step", "compiled", "optimise", "pipeline", "verify"]
