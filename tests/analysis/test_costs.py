"""Costs: names and shapes of all weights, parameters and FLOPs are those that torch counts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hierarchies import random_features, random_spec
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import homespec
from homespec.analysis.costs import Cost, cost_of, weights_of
from homespec.bench.random_batch import set_fitted

SPECS = Path(__file__).parents[2] / "specs"
BATCH = 5


def flops(model: nn.Module, features: dict[str, torch.Tensor]) -> int:
    """What torch counts in one forward pass."""
    inside = {torch.ops.homespec.run_gru_1: gru} if hasattr(torch.ops.homespec, "run_gru_1") else {}
    with FlopCounterMode(display=False, custom_mapping=inside) as counter, torch.no_grad():
        model(features)
    return counter.get_total_flops()


def gru(read: torch.Size, weight: torch.Size, moves: torch.Size, **_: Any) -> int:
    """What the steps of a GRU multiply, which torch cannot see: states by their weight."""
    rows, length = moves
    return 2 * rows * length * weight[0] * weight[1]


def check(spec: dict[str, Any], optimize: bool) -> None:
    loaded = homespec.loads(yaml.safe_dump(spec, sort_keys=False))
    graph = loaded.analysis.graph
    model = homespec.build(loaded, optimize=optimize, dtype=torch.float32).eval()
    code = sys.modules[type(model).__module__]
    set_fitted(code, model, loaded)
    state = code.logical_state(model)

    shapes = {weight.name: weight.shape for node in graph for weight in weights_of(node)}
    fitted = (".boundaries", ".scaling", ".vocabulary")
    buffers = {name for name in state if ".running_" in name or name.endswith(fitted)}
    assert shapes == {n: tuple(t.shape) for n, t in state.items() if n not in buffers}

    features = random_features(spec, BATCH, torch.Generator().manual_seed(0))
    features = {n: t.float() if t.is_floating_point() else t for n, t in features.items()}
    cost = cost_of(graph)
    assert cost.parameters == sum(p.numel() for p in model.parameters())
    assert BATCH * cost.flops == flops(model, features)


@pytest.mark.parametrize("layout", ["optimised", "plain"])
@pytest.mark.parametrize("seed", range(15))
def test_random_hierarchies(seed: int, layout: str) -> None:
    check(random_spec(seed), optimize=layout == "optimised")


@pytest.mark.parametrize("layout", ["optimised", "plain"])
@pytest.mark.parametrize("name", ["quickstart", "nested"])
def test_shipped_specs(name: str, layout: str) -> None:
    check(yaml.safe_load((SPECS / f"{name}.yaml").read_text()), optimize=layout == "optimised")


def test_passes_cost_nothing() -> None:
    from homespec.passes import PASSES

    graph = homespec.load(SPECS / "industrial.yaml").analysis.graph
    before = cost_of(graph)
    for run in PASSES.values():
        graph = run(graph)
        assert cost_of(graph) == before


def test_costs_add_up() -> None:
    assert Cost(1, 2) + Cost(3, 4) == Cost(4, 6)
