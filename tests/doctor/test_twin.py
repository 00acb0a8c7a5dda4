"""The plain twin of a model in training: in all models of the language it computes the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from doctor_models import plain
from event_specs import add_sequences
from hierarchies import random_features, random_spec, randomise
from parity import load
from topologies import random_family, random_topology
from torch import Tensor

import homespec
from homespec.activations.numbers import Numbers
from homespec.activations.observers import Observer
from homespec.activations.twin import CHUNK, Twin
from homespec.api import build_with_module
from homespec.health.thresholds import TOLERANCE, Thresholds


def with_sequences(seed: int) -> dict[str, Any]:
    spec = random_spec(seed)
    add_sequences(random.Random(seed), spec)
    return spec


DRAWS = {
    "hierarchy": random_spec,
    "family": random_family,
    "topology": random_topology,
    "sequences": with_sequences,
}


def read_by_trunk(model: Any, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What the trunk of a model reads, and its logits [T, B]."""
    seen: list[Tensor] = []
    hook = model.trunk.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    with torch.no_grad():
        logits = model(features, stacked=True)
    hook.remove()
    return seen[0], logits


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_it_has_the_logits_of_the_optimised_model(
    draw: Callable[[int], dict[str, Any]], seed: int
) -> None:
    spec = draw(seed)
    loaded, generator = load(spec), torch.Generator().manual_seed(seed)
    code, model = build_with_module(loaded, dtype=torch.float64)
    code.load_logical_state(model, randomise(code.logical_state(model), generator))
    x_BV, expected_TB = read_by_trunk(model.eval(), random_features(spec, 16, generator))
    twin = Twin(loaded)
    twin.take(code.logical_state(model))
    with torch.no_grad():
        found_TB = twin.trunk.logits(twin.trunk(x_BV))
    torch.testing.assert_close(found_TB, expected_TB, rtol=1e-10, atol=1e-10)


def test_its_numbers_are_those_of_the_doctor() -> None:
    spec = random_spec(3)
    loaded, generator = load(spec), torch.Generator().manual_seed(0)
    trunk = plain(loaded, torch.float32)
    x_BV = trunk.inputs(random_features(spec, CHUNK + 100, generator))
    twin = Twin(loaded)
    twin.take(trunk.code.logical_state(trunk.model))
    found = twin.health(x_BV)
    seen = Observer(TOLERANCE, Thresholds().saturation)
    with torch.no_grad():
        for part in (x_BV[:CHUNK], x_BV[CHUNK:]):
            trunk(part, watch=seen)
    expected = Numbers(loaded.analysis, seen, {})
    assert found.rows == CHUNK + 100
    assert found.gates == tuple(expected.gates())
    assert [e.mean_abs for e in found.experts] == [e.mean_abs for e in expected.experts()]
    assert all(expert.quantiles for expert in expected.experts())
    assert not any(expert.quantiles for expert in found.experts)


def test_random_numbers_stay() -> None:
    loaded = homespec.load("specs/quickstart.yaml")
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    Twin(loaded)
    assert torch.equal(torch.rand(3), expected)
