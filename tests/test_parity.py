"""Generated code against the oracle: random hierarchies, float64, both layouts, to rounding.

Weights go by logical name, so a wrong name, a swapped expert or a transposed matrix shows too.
"""

from __future__ import annotations

import math
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from hierarchies import Spec, random_features, random_labels, random_spec, randomise, specs
from hypothesis import HealthCheck, given, settings
from reference import Reference
from torch import Tensor, nn

import homespec

torch.set_num_threads(1)

TOLERANCE = 1e-10
BATCH = 16
LAYOUTS = {"optimised": True, "plain": False}


def load(spec: Spec) -> Any:
    """The same spec as homespec reads it, from YAML text."""
    return homespec.loads(yaml.safe_dump(spec, sort_keys=False))


def build(loaded: Any, layout: str) -> tuple[nn.Module, ModuleType]:
    """The generated model of a spec in float64, and the Python module it comes from."""
    model = homespec.build(loaded, dtype=torch.float64, optimize=LAYOUTS[layout])
    return model, sys.modules[type(model).__module__]


def split(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A logical state's parameters and its buffers."""
    buffers = {name: tensor for name, tensor in state.items() if ".running_" in name}
    return {name: t for name, t in state.items() if name not in buffers}, buffers


def gradients(model: nn.Module, functions: Any) -> dict[str, Tensor]:
    """Gradients by logical name: laid out as the parameters are, so put in their place to read."""
    parameters = list(model.parameters())
    values = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        assert parameter.grad is not None, "a parameter that no loss reaches"
        parameter.data.copy_(parameter.grad)
    found = {name: t.detach().clone() for name, t in functions.logical_state(model).items()}
    for parameter, value in zip(parameters, values, strict=True):
        parameter.data.copy_(value)
    return split(found)[0]


def observe(
    model: nn.Module, functions: Any, features: dict[str, Tensor], labels: dict[str, Tensor]
) -> dict[str, dict[str, Tensor]]:
    """What a model computes before, in and after one step of SGD, each thing by name."""
    seen = {"v": {"": functions.v(features).detach().clone()}}
    seen["evaluated"] = model.eval()(features)
    seen["logits"] = model.train()(features)
    seen["losses"] = functions.losses(seen["logits"], labels)
    loss = functions.loss(seen["logits"], labels)
    loss.backward()
    seen["loss"] = {"": loss}
    seen["gradient"] = gradients(model, functions)
    torch.optim.SGD(model.parameters(), lr=0.01).step()
    seen["after a step"] = {n: t.clone() for n, t in functions.logical_state(model).items()}
    seen["evaluated after a step"] = model.eval()(features)
    return seen


def assert_close(what: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Names, shapes and values; everything at once, and by name only to say where it differs."""
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in expected.items()}, what
    ours, theirs = (
        torch.cat([tensors[name].detach().flatten() for name in expected])
        for tensors in (found, expected)
    )
    if torch.allclose(ours, theirs, TOLERANCE, TOLERANCE):
        return
    wrong = {
        name: f"{(found[name] - tensor).abs().max().item():.1e}"
        for name, tensor in expected.items()
        if not torch.allclose(found[name], tensor, TOLERANCE, TOLERANCE)
    }
    pytest.fail(f"{what}: differs by {wrong}")


def compare(spec: Spec, seed: int) -> None:
    """Both layouts of a spec against the oracle, on one batch."""
    generator = torch.Generator().manual_seed(seed)
    features = random_features(spec, BATCH, generator)
    labels = random_labels(spec, BATCH, generator)
    if seed % 5 == 0:  # nothing is known of one task in this batch
        labels[next(iter(labels))][:] = torch.nan
    oracle = Reference(spec)
    weights = randomise(oracle.logical_state(), generator)
    oracle.load_logical_state(weights)
    functions = SimpleNamespace(
        v=oracle.v,
        losses=oracle.losses,
        loss=oracle.loss,
        logical_state=Reference.logical_state,
    )
    expected = observe(oracle, functions, features, labels)
    loaded = load(spec)
    for layout in LAYOUTS:
        model, module = build(loaded, layout)
        assert set(module.TASKS) == set(spec["tasks"])
        module.load_logical_state(model, weights)
        assert_close(f"{layout}: loaded", module.logical_state(model), weights)
        named = sum(tensor.numel() for tensor in split(weights)[0].values())
        assert sum(p.numel() for p in model.parameters()) == named, "parameters without a name"
        functions = SimpleNamespace(
            v=model.features,
            losses=module.losses,
            loss=module.loss,
            logical_state=module.logical_state,
        )
        found = observe(model, functions, features, labels)
        for what, values in expected.items():
            assert_close(f"{layout}: {what}", found[what], values)
        logits = model.trunk(model.features(features))
        assert_close(f"{layout}: trunk", logits, expected["evaluated after a step"])


@pytest.mark.parametrize("seed", range(200))
def test_parity(seed: int) -> None:
    compare(random_spec(seed), seed)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(specs())
def test_parity_shrinks_what_fails(spec: Spec) -> None:
    compare(spec, seed=1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(10))
def test_new_models_start_as_the_oracle_does(seed: int, layout: str) -> None:
    """Feature gates at 1, norms at identity, towers at the rate, matrices as nn.Linear's."""
    spec = random_spec(seed)
    model, module = build(load(spec), layout)
    oracle, state = Reference(spec), module.logical_state(model)
    for name, expected in oracle.logical_state().items():
        fixed = (
            ".up.weight",
            ".alpha",
            ".running_mean",
            ".running_var",
            "norm.weight",
            "norm.bias",
        )
        if name.endswith(fixed):
            assert torch.equal(state[name], expected), name
        elif ".linears." in name and expected.dim() == 2:
            bound = expected.shape[1] ** -0.5
            assert state[name].abs().max() <= bound, name
            assert expected.numel() < 10 or state[name].abs().max() > 0.5 * bound, name
    for task, options in spec["tasks"].items():
        if "rate" in options:
            last = len(oracle.towers[task].linears) - 1
            bias = state[f"towers.{task}.linears.{last}.bias"].item()
            log_odds = math.log(options["rate"] / (1 - options["rate"]))
            assert bias == pytest.approx(log_odds, abs=1e-3)  # a start: four digits will do


@pytest.mark.parametrize("layout", LAYOUTS)
def test_experts_of_a_set_start_different(layout: str) -> None:
    model, module = build(load(random_spec(0)), layout)
    weights = [t for n, t in module.logical_state(model).items() if n.endswith(".linears.0.weight")]
    for i, weight in enumerate(weights):
        assert not any(torch.equal(weight, other) for other in weights[:i])
