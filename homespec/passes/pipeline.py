"""Which passes run for a variant, in which order, and what each of them did."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from homespec.graph import Graph
from homespec.passes.drop_training import drop_training
from homespec.passes.fold_batch_norm import fold_batch_norm
from homespec.passes.fuse_feature_gates import fuse_feature_gates
from homespec.passes.fuse_gates import fuse_gates
from homespec.passes.prune import prune
from homespec.passes.singletons import singletons
from homespec.passes.verify import verify
from homespec.variant import Variant, check_pass

Pass = Callable[[Graph], Graph]
BATCHING = "batch-"
"""What the names of passes begin with whose results emission needs in some form."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a pass made of a graph, and the seconds that it took; the verifier's do not count."""

    name: str
    seconds: float
    before: Graph
    after: Graph


def pipeline(variant: Variant, optimising: Mapping[str, Pass]) -> dict[str, Pass]:
    """The passes of a variant by name, in their order. Raises UnknownNameError for `skip`.

    Those that are skipped are left out; a batching pass then makes batches of one, and fusing
    makes projections of one gate.
    """
    chosen: dict[str, Pass] = {}
    if variant.tasks:
        chosen["prune"] = functools.partial(prune, tasks=variant.tasks)
    if variant.inference:
        chosen |= {"drop-training": drop_training, "fold-batch-norm": fold_batch_norm}
    if variant.optimize:
        chosen |= optimising
    if variant.target == "cuda":
        chosen["fuse-feature-gates"] = fuse_feature_gates
    for name in variant.skip:
        check_pass(name, chosen)
    kept: dict[str, Pass] = {}
    for name, each in chosen.items():
        if name not in variant.skip:
            kept[name] = each
        elif name.startswith(BATCHING):
            kept[name] = singletons(each)
        elif each is fuse_gates:
            kept[name] = functools.partial(fuse_gates, alone=True)
    return kept


def run(
    graph: Graph, passes: Mapping[str, Pass], watch: Callable[[Step], None] | None = None
) -> Graph:
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
