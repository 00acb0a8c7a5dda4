"""Features at nodes of the task tree (`at`): what reads them, their names, and what they cost."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import torch
import yaml
from hierarchies import Spec, random_features, random_spec
from parity import build, compare, load
from placed_specs import add_places
from reference import Reference
from test_inference import both
from test_user_features import check as check_user
from test_user_features import drawn_user
from topologies import random_family, random_topology

import homespec
from homespec.bench import counting
from homespec.train.frozen import Frozen
from homespec.train.sparse_embeddings import SparseTables

DRAWS = {"home": random_spec, "family": random_family, "layers": random_topology}
STEM = """\
homespec: 1
name: stem
family: cgc
features:
  user: {id: {vocab: 9}, dim: 4, at: [shared, tasks]}
  hour: {dense: 3}
  item: {id: {buckets: 9}, dim: 2, at: [shared, tasks]}
tasks: {click: {}, finish: {}, like: {}}
experts: {width: 4}
towers: {hidden: []}
"""


def placed(kind: str, seed: int) -> Spec:
    """A random spec with features at nodes of the tree."""
    spec: Spec = {}
    for more in range(100):
        spec = DRAWS[kind](1000 + 100 * seed + more)
        for feature in spec["features"].values():
            feature.pop("at", None)
        add_places(random.Random(seed), spec, probability=1.0)
        if any("at" in feature for feature in spec["features"].values()):
            return spec
    raise AssertionError("no spec with places")


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("seed", range(12))
def test_parity(seed: int, kind: str) -> None:
    spec = placed(kind, seed)
    compare(spec, Reference(spec), seed)


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("seed", range(4))
def test_pruned_and_for_inference(seed: int, kind: str) -> None:
    spec = placed(kind, seed)
    for tasks in (list(spec["tasks"])[:1], None):
        full, _, model, module = both(spec, seed, mode="inference", tasks=tasks)
        features = random_features(spec, 8, torch.Generator().manual_seed(seed))
        expected = full(features)
        for task, logit in model({name: features[name] for name in module.FEATURES}).items():
            torch.testing.assert_close(logit, expected[task], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("seed", range(4))
def test_for_one_user_and_many_candidates(seed: int, kind: str) -> None:
    spec = placed(kind, seed)
    check_user(spec, drawn_user(spec, random.Random(seed)), seed)


def test_pruning_drops_the_tables_of_other_tasks() -> None:
    spec = homespec.loads(STEM.replace("dense: 3", "dense: 3, at: like"))
    module = homespec.build_module(spec, tasks=["click"])
    names = module.logical_state(module.Model())
    assert "hour" not in module.FEATURES
    tables = [name for name in names if name.startswith("features.")]
    assert tables == [
        f"features.{feature}.{place}.weight"
        for feature in ("user", "item")
        for place in ("shared", "click")
    ]


def test_a_node_reads_the_nearest_table() -> None:
    """A change of one table changes what reads it: of the root, the shared experts of all tasks."""
    model, module = build(homespec.loads(STEM), "optimised")
    features = random_features(yaml.safe_load(STEM), 8, torch.Generator().manual_seed(0))
    before = model.eval()(features)
    for place, changed in (("like", {"like"}), ("shared", {"click", "finish", "like"})):
        state = {n: t.clone() for n, t in module.logical_state(model).items()}
        other = copy.deepcopy(model)
        state[f"features.user.{place}.weight"] += 1
        module.load_logical_state(other, state)
        after = other(features)
        assert {task for task in after if not torch.equal(after[task], before[task])} == changed


def test_weights_load_into_a_model_with_tasks_in_another_order() -> None:
    text = STEM.replace("click: {}, finish: {}, like: {}", "like: {}, click: {}, finish: {}")
    assert text != STEM
    model, module = build(homespec.loads(STEM), "optimised")
    other, functions = build(homespec.loads(text), "optimised")
    functions.load_logical_state(other, module.logical_state(model))
    features = random_features(yaml.safe_load(STEM), 8, torch.Generator().manual_seed(0))
    expected, found = model.eval()(features), other.eval()(features)
    for task, logit in expected.items():
        torch.testing.assert_close(found[task], logit)


def steps(tasks: int) -> int:
    """The operations of a step of a model with this many tasks, each with tables of its own."""
    spec: Any = yaml.safe_load(STEM)
    spec["tasks"] = {f"task_{i}": {} for i in range(tasks)}
    model, module = build(load(spec), "optimised")
    features = random_features(spec, 8, torch.Generator().manual_seed(0))
    labels = {task: torch.ones(8, dtype=torch.float64) for task in spec["tasks"]}
    return counting.operations(
        lambda: module.loss(model(features, stacked=True), labels).backward()
    )


def test_operations_do_not_depend_on_the_number_of_tasks() -> None:
    assert steps(3) == steps(9)


@pytest.mark.parametrize("frozen", [(), ("features.user.click.weight",)])
def test_sparse_gradients_are_the_dense_ones(frozen: tuple[str, ...]) -> None:
    """A table of a run's weights that is frozen gets none, its neighbours do."""
    (model, code), (dense, _) = (build(homespec.loads(STEM), "optimised") for _ in range(2))
    code.load_logical_state(dense, code.logical_state(model))
    spec: Any = yaml.safe_load(STEM)
    features = random_features(spec, 16, torch.Generator().manual_seed(0))
    labels = {task: torch.ones(16, dtype=torch.float64) for task in spec["tasks"]}
    Frozen(dense, code, frozen)
    code.loss(dense(features), labels).backward()
    tables = SparseTables(model, Frozen(model, code, frozen))
    tables.fit(features)
    code.loss(model(features), labels).backward()
    tables.set_aside()
    tables.collect()
    for name, found in model.named_parameters():
        expected = dense.get_parameter(name).grad
        assert found.grad is not None
        assert expected is not None
        torch.testing.assert_close(found.grad.to_dense(), expected)


def test_tables_of_one_feature_are_looked_up_together_without_the_pass() -> None:
    spec = placed("family", 3)
    compare(spec, Reference(spec), 3, ["optimised"], skip_passes=["batch-features"])
