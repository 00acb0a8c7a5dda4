"""What gates read: lists of features, with tables at nodes of the tree, with and without gradients.

Random specs, which tests/test_parity.py compares with the oracle, draw from all of it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hierarchies import random_features, random_labels
from parity import compare, load
from reference import Reference

import homespec

torch.set_num_threads(1)

FEATURES: dict[str, Any] = {
    "user": {"id": {"vocab": 5}, "dim": 3},
    "tab": {"id": {"vocab": 5}, "dim": 2, "at": ["shared", "watch"]},
    "video": {"id": {"vocab": 5}, "dim": 4},
}
SPEC: dict[str, Any] = {
    "homespec": 1,
    "name": "gated",
    "features": FEATURES,
    "groups": {"watch": ["click", "finish"], "act": ["like"]},
    "tasks": {"click": {}, "finish": {}, "like": {}},
    "experts": {"width": 4},
}


def spec_with(**gates: Any) -> dict[str, Any]:
    return {**SPEC, "gates": {"feature": {"rank": 2}, **gates}}


READ_AT_NODES = spec_with(
    mixture={"input": ["tab", "own"], "detach": ["tab"]},
    feature={"input": ["tab", "user"], "loras": 1, "activation": "relu", "rank": 3},
    self={"input": ["tab", "user"]},
)


def test_a_gate_reads_the_nearest_table_on_its_path() -> None:
    compare(READ_AT_NODES, Reference(READ_AT_NODES), seed=3)


@pytest.mark.parametrize("optimize", [True, False])
def test_detached_features_get_no_gradient_from_the_gate(optimize: bool) -> None:
    """The gradient of a table is that of a model whose gate has constant weights for the table."""
    found = {}
    for detach in (False, True):
        spec = spec_with(mixture={"input": ["user"], "detach": detach}, self=False, feature=False)
        code = homespec.build_module(load(spec), optimize=optimize)
        torch.manual_seed(0)
        model = code.Model()
        generator = torch.Generator().manual_seed(1)
        features = random_features(spec, 8, generator)
        code.loss(model(features), random_labels(spec, 8, generator)).backward()
        for parameter in model.parameters():
            parameter.data.copy_(parameter.grad if parameter.grad is not None else 0)
        found[detach] = code.logical_state(model)
    name = "gates.task.click.linears.0.weight"
    torch.testing.assert_close(found[False][name], found[True][name])
    assert not torch.equal(
        found[False]["features.user.weight"], found[True]["features.user.weight"]
    )


def test_gates_that_read_features_are_one_product_for_all_tasks() -> None:
    """The number of modules does not depend on the number of tasks."""
    numbers = []
    for tasks in (4, 12):
        names = [f"t{i}" for i in range(tasks)]
        groups = {"a": names[: tasks // 2], "b": names[tasks // 2 :]}
        spec = {**spec_with(mixture={"input": ["user", "own"]}), "groups": groups}
        spec["features"] = {k: {**v, "at": "shared"} for k, v in FEATURES.items()}
        spec["tasks"] = {name: {} for name in names}
        model = homespec.build_module(load(spec)).Model()
        numbers.append(len(list(model.modules())))
    assert numbers[0] == numbers[1]
