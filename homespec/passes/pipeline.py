"""The passes of each variant, in order, and a record of what each of them did."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from homespec.graph import Graph
from homespec.graph.inputs import inputs_of
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
from homespec.passes.drop_training import drop_training
from homespec.passes.drop_trivial_gates import drop_trivial_gates
from homespec.passes.fold_batch_norm import fold_batch_norm
from homespec.passes.fuse_feature_gates import fuse_feature_gates
from homespec.passes.fuse_gates import fuse_gates
from homespec.passes.prune import prune
from homespec.passes.split_input import split_input
from homespec.passes.verify import verify
from homespec.variant import DEFAULT, NoCandidateError, Variant, check_pass

Pass = Callable[..., Graph]

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

SINGLE = ("batch-", "fuse-gates")
"""Prefixes of passes whose form emission needs even if they are skipped: they take `single`."""


@dataclass(frozen=True, slots=True)
class Step:
    """The result of a pass and the seconds that it took, without those of the verifier."""

    name: str
    seconds: float
    before: Graph
    after: Graph


Watch = Callable[[Step], None]


def optimise(graph: Graph, variant: Variant = DEFAULT, watch: Watch | None = None) -> Graph:
    """The graph of a variant.

    Raises UnknownNameError for a pass to skip that does not run, and NoCandidateError if the tasks
    read only features of the user.

    `watch` is called with each pass.
    """
    asked = graph.asked_for(variant.tasks, variant.inference, variant.user_features)
    optimised = run(asked, pipeline(variant), watch)
    if variant.user_features and set(inputs_of(optimised)) <= set(variant.user_features):
        raise NoCandidateError(
            f"the tasks {', '.join(optimised.tasks)} read only the user's features, so that all "
            "candidates would have one score"
        )
    return optimised


def run(graph: Graph, passes: Mapping[str, Pass], watch: Watch | None = None) -> Graph:
    """Run passes; the graph is verified before the first and after each."""
    verify(graph, "lowering")
    for name, each in passes.items():
        start = time.perf_counter()
        after = each(graph)
        seconds = time.perf_counter() - start
        verify(after, name)
        if watch:
            watch(Step(name, seconds, graph, after))
        graph = after
    return graph


def pipeline(variant: Variant) -> dict[str, Pass]:
    """The passes of a variant by name, in order. Raises UnknownNameError.

    Skipped passes are left out, except that batching then makes batches of one member, and fusing
    makes projections of one gate.
    """
    chosen: dict[str, Pass] = {}
    if variant.tasks:
        chosen["prune"] = functools.partial(prune, tasks=variant.tasks)
    if variant.inference:
        chosen |= {"drop-training": drop_training, "fold-batch-norm": fold_batch_norm}
    if variant.optimize:
        chosen |= PASSES
    if variant.user_features:
        chosen = _after("fuse-gates", chosen, {"split-input": split_input})
    if variant.target == "cuda":
        chosen["fuse-feature-gates"] = fuse_feature_gates
    for name in variant.skip:
        check_pass(name, chosen)
    passes = {}
    for name, each in chosen.items():
        if name not in variant.skip:
            passes[name] = each
        elif name.startswith(SINGLE):
            passes[name] = functools.partial(each, single=True)
    return passes


def _after(name: str, passes: Mapping[str, Pass], more: Mapping[str, Pass]) -> dict[str, Pass]:
    """The passes, with `more` inserted after the one of this name."""
    found: dict[str, Pass] = {}
    for each, run_it in passes.items():
        found[each] = run_it
        if each == name:
            found |= more
    return found
