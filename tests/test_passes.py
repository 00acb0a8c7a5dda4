"""Passes: what each does to a small graph, that it keeps the model, and that the verifier bites."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys

import pytest
import torch
import yaml
from hierarchies import Spec, random_features, random_spec
from parity import compare
from reference import Reference
from topologies import random_family, random_topology

import homespec
from homespec.emit import emit
from homespec.graph import Graph
from homespec.graph.nodes import (
    Batch,
    ExpertSet,
    Gate,
    Mix,
    Node,
    Objective,
    Port,
    Projection,
    Tower,
)
from homespec.passes import PASSES, Step, optimise
from homespec.passes.drop_training import drop_training
from homespec.passes.drop_trivial_gates import drop_trivial_gates
from homespec.passes.fold_batch_norm import fold_batch_norm
from homespec.passes.pipeline import Pass, run
from homespec.passes.prune import prune
from homespec.passes.verify import BrokenGraphError, verify
from homespec.runtime import import_source
from homespec.variant import variant

TEXT = """\
homespec: 1
name: small
features: {asr: {dense: 4}}
groups: {watch: [click, finish], interaction: [like]}
tasks: {click: {}, finish: {}, like: {}}
experts: {meta: {nodes: {interaction: 3}}}
"""


@pytest.fixture
def graph() -> Graph:
    return homespec.loads(TEXT).analysis.graph


def members(graph: Graph) -> dict[str, list[str]]:
    return {n.name: [m.name for m in n.members] for n in graph if isinstance(n, Batch)}


def test_experts_of_one_shape_become_one_batch(graph: Graph) -> None:
    assert members(PASSES["batch-experts"](graph)) == {
        "experts_meta_shared": ["experts.meta.shared", "experts.meta.watch"],
        "experts_meta_interaction": ["experts.meta.interaction"],
        "experts_task": [f"experts.task.{n}" for n in ("shared", "watch", "interaction")]
        + [f"experts.task.{n}" for n in ("click", "finish", "like")],
    }


def test_readers_follow_into_the_batch(graph: Graph) -> None:
    batched = PASSES["batch-experts"](graph)
    (watch,) = (m for m in batched.of(Mix) if m.name == "states.meta.watch")
    assert watch.sets == (Port("experts_meta_shared", 0), Port("experts_meta_shared", 1))


def test_a_pass_does_not_touch_its_input(graph: Graph) -> None:
    before = {node.name: node for node in graph}
    optimise(graph)
    assert {node.name: node for node in graph} == before


@pytest.mark.parametrize("seed", range(20))
def test_logical_nodes_survive(seed: int) -> None:
    """Batches hold exactly the nodes that there were: nothing is lost, doubled or renamed.

    Only gates over one expert go, and only projections come.
    """
    graph = load(random_spec(seed)).analysis.graph

    def names(of: Graph) -> list[str]:
        groups = (n.members if isinstance(n, Batch) else (n,) for n in of)
        nodes = (node for group in groups for node in group)
        return sorted(node.name for node in nodes if not isinstance(node, Projection))

    trivial = {gate.name for gate in graph.of(Gate) if gate.choices == 1}
    assert names(optimise(graph)) == [name for name in names(graph) if name not in trivial]


def load(spec: Spec) -> homespec.api.LoadedSpec:
    return homespec.loads(yaml.safe_dump(spec, sort_keys=False))


@pytest.mark.parametrize("count", range(1, len(PASSES) + 1))
@pytest.mark.parametrize("seed", [2, 4])
def test_the_verifier_accepts_every_prefix(seed: int, count: int) -> None:
    graph = load(random_spec(seed)).analysis.graph
    for name in list(PASSES)[:count]:
        graph = PASSES[name](graph)
        verify(graph, name)


def test_optimised_and_plain_agree_for_industrial_sizes() -> None:
    """Many tasks and groups of unequal size: every kind of slice, run and expand is there."""
    spec = random_spec(3)
    spec["features"] = {"x": {"dense": 5}, "id": {"id": {"buckets": 7}, "dim": 3}}
    spec["groups"] = {"a": ["t0"], "b": ["t1", "t2", "c"], "c": ["t3", "t4"], "d": ["t5"]}
    spec["tasks"] = {f"t{i}": {} for i in range(6)}
    spec.pop("experts", None)
    spec.pop("gates", None)
    spec["experts"] = {"width": 4, "task": {"nodes": {"t4": 0, "t2": 3}}}
    loaded = load(spec)
    modules = [homespec.build_module(loaded, optimize=o) for o in (True, False)]
    models = [module.Model().double() for module in modules]
    modules[1].load_logical_state(models[1], modules[0].logical_state(models[0]))
    features = random_features(spec, 8, torch.Generator().manual_seed(0))
    batched, plain = (model(features) for model in models)
    for task in plain:
        torch.testing.assert_close(batched[task], plain[task], rtol=1e-10, atol=1e-10)


DRAWS = (random_spec, random_family, random_topology)
LIVE = 5
"""Draws for each pass."""


@functools.cache
def live_seeds(name: str, alone: bool) -> tuple[int, ...]:
    """Draws in whose code a pass makes a difference: left out of all, or as the only one."""
    live = []
    for seed in range(120):
        loaded = load(DRAWS[seed % len(DRAWS)](seed))
        others = [p for p in PASSES if p != name]
        ways = (PASSES, others) if alone else ([], [name])
        one, other = (homespec.compile(loaded, skip_passes=list(way)) for way in ways)
        if code_of(one) != code_of(other):
            live.append(seed)
            if len(live) == LIVE:
                break
    return tuple(live)


def code_of(text: str) -> str:
    """The text without what its head says of flags."""
    return text.split('"""', 2)[2]


@pytest.mark.parametrize("alone", [False, True], ids=["without", "alone"])
@pytest.mark.parametrize("name", PASSES)
def test_each_pass_without_and_alone(name: str, alone: bool) -> None:
    """Outputs, gradients and running statistics stay what they were, to 1e-10 in float64.

    In draws whose code is another for it.
    """
    seeds = live_seeds(name, alone)
    assert len(seeds) == LIVE
    skipped = [p for p in PASSES if p != name] if alone else [name]
    for seed in seeds:
        spec = DRAWS[seed % len(DRAWS)](seed)
        compare(spec, Reference(spec), seed, ["optimised"], skip_passes=skipped)


def test_a_pass_that_breaks_the_graph_is_found_at_once(graph: Graph) -> None:
    def broken(graph: Graph) -> Graph:
        return Graph(graph.name, graph.span, [n for n in graph if not isinstance(n, ExpertSet)])

    def never(graph: Graph) -> Graph:
        raise AssertionError("the pass before it broke the graph")

    with pytest.raises(BrokenGraphError, match="after broken: values are read that no op"):
        run(graph, {"broken": broken, "never": never})
    with pytest.raises(BrokenGraphError, match="after lowering"):
        run(broken(graph), {})


@pytest.mark.parametrize("seed", range(3))
def test_all_passes_can_be_switched_off(seed: int) -> None:
    spec = DRAWS[seed](seed)
    compare(spec, Reference(spec), seed, ["optimised"], skip_passes=PASSES)


def test_a_batching_pass_that_is_skipped_makes_batches_of_one(graph: Graph) -> None:
    skipped = optimise(graph, variant(skip=["batch-experts", "batch-towers"]))
    batches = members(skipped)
    assert batches["experts_meta_watch"] == ["experts.meta.watch"]
    assert batches["towers_like"] == ["towers.like"]
    assert len(batches["gates_task"]) == 3
    assert all(len(batch) == 1 for name, batch in batches.items() if name.startswith("experts"))


def test_prune_keeps_every_set_that_a_kept_gate_weighs(graph: Graph) -> None:
    pruned = prune(graph, ["like"])
    assert {t.name for t in pruned.of(Tower)} == {"towers.like"}
    assert {o.name for o in pruned.of(Objective)} == {"objectives.like"}
    assert "experts.meta.watch" in pruned  # the root's gate weighs it
    assert "experts.task.watch" not in pruned
    assert all(mix == graph[mix.name] for mix in pruned.of(Mix))


def test_prune_for_all_tasks_keeps_the_graph(graph: Graph) -> None:
    assert list(prune(graph, ["click", "finish", "like"])) == list(graph)


def test_a_mixture_of_one_expert_reads_no_gate() -> None:
    text = TEXT.replace("experts:", "family: shared_bottom\nexperts:")
    text = text.replace("experts: {meta: {nodes: {interaction: 3}}}", "gates: {self: true}")
    graph = homespec.loads(text).analysis.graph
    dropped = drop_trivial_gates(graph)
    assert [mix.gated for mix in graph.of(Mix)] == [True]
    (mix,) = dropped.of(Mix)
    assert not mix.gated
    assert mix.sets == (Port("experts.task.shared"),)
    assert [residual.position for residual in mix.residuals] == [0]
    assert not dropped.of(Gate)
    assert "new_ones" not in homespec.compile(homespec.loads(text))


def test_drop_training_leaves_towers_without_objectives(graph: Graph) -> None:
    dropped = drop_training(graph)
    assert not dropped.of(Objective)
    assert len(dropped.of(Tower)) == 3


def test_fold_batch_norm_gives_the_last_linear_a_bias(graph: Graph) -> None:
    assert {s.norm for s in graph.of(ExpertSet)} == {"batch"}
    folded = fold_batch_norm(graph).of(ExpertSet)
    assert all(s.norm == "folded" and s.last_bias for s in folded)


def test_steps_tell_what_each_pass_did(graph: Graph) -> None:
    steps: list[Step] = []
    optimise(graph, variant(tasks=["like"], mode="inference"), steps.append)
    assert [s.name for s in steps] == ["prune", "drop-training", "fold-batch-norm", *PASSES]
    assert all(a.after is b.before for a, b in itertools.pairwise(steps))
    assert len(steps[0].after) < len(steps[0].before)


@pytest.mark.parametrize(
    "run", [prune, drop_training, fold_batch_norm, *PASSES.values()], ids=lambda run: run.__name__
)
def test_each_pass_says_what_it_does(run: Pass) -> None:
    """In its own docstring or in that of its file, by an example."""
    texts = (run.__doc__ or "") + (sys.modules[run.__module__].__doc__ or "")
    assert "before:" in texts
    assert "after:" in texts


def broken(graph: Graph, name: str, **changes: object) -> Graph:
    def change(node: Node) -> Node:
        return dataclasses.replace(node, **changes) if node.name == name else node

    return Graph(graph.name, graph.span, [change(node) for node in graph])


def test_the_verifier_finds_a_missing_producer(graph: Graph) -> None:
    with pytest.raises(BrokenGraphError, match="no operation makes"):
        verify(broken(graph, "experts.meta.watch", reads=(Port("nowhere"),)), "a test")


def test_the_verifier_finds_a_cycle(graph: Graph) -> None:
    with pytest.raises(BrokenGraphError, match="cycle"):
        verify(broken(graph, "experts.meta.watch", reads=(Port("states.meta.watch"),)), "a test")


def test_the_verifier_finds_a_member_that_is_not_there(graph: Graph) -> None:
    batched = PASSES["batch-experts"](graph)
    (mix,) = (m for m in batched.of(Mix) if m.name == "states.meta.watch")
    reads = (mix.gate, Port("experts_meta_shared", 5), *mix.reads[2:])
    with pytest.raises(BrokenGraphError, match="of 2 members"):
        verify(broken(batched, mix.name, reads=reads), "a test")


def test_the_verifier_finds_a_mixture_of_the_wrong_length(graph: Graph) -> None:
    (mix,) = (m for m in graph.of(Mix) if m.name == "states.meta.watch")
    with pytest.raises(BrokenGraphError, match="reads"):
        verify(broken(graph, mix.name, reads=mix.reads[:-1]), "a test")


def test_emit_is_a_function(graph: Graph) -> None:
    """The text is one of graph and header alone: the same twice."""
    analysis = homespec.loads(TEXT).analysis
    texts = [emit(optimise(analysis.graph), "x.") for _ in range(2)]
    assert texts[0] == texts[1]
    assert import_source("again", texts[0]) is import_source("again", texts[1])
    assert len(graph.of(ExpertSet)) == 9
