"""Generated code against the oracle of the law, on random specs; and how new models start."""

from __future__ import annotations

import math

import pytest
import torch
import yaml
from hierarchies import Spec, random_spec, specs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parity import LAYOUTS, build, compare, load
from reference import Reference
from regularised_specs import with_dropout
from topologies import random_family, random_topology, topologies

import homespec


@pytest.mark.parametrize("seed", range(200))
def test_parity(seed: int) -> None:
    spec = with_dropout(random_spec(seed), seed)
    compare(spec, Reference(spec), seed)


@pytest.mark.parametrize("seed", range(110))
def test_parity_of_families(seed: int) -> None:
    spec = with_dropout(random_family(seed), seed)
    compare(spec, Reference(spec), seed)


@pytest.mark.parametrize("seed", range(90))
def test_parity_of_layers_by_hand(seed: int) -> None:
    spec = with_dropout(random_topology(seed), seed)
    compare(spec, Reference(spec), seed)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.one_of(specs(), topologies()), st.integers(0, 99))
def test_parity_shrinks_what_fails(spec: Spec, seed: int) -> None:
    spec = with_dropout(spec, seed)
    compare(spec, Reference(spec), seed=1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(10))
def test_new_models_start_as_the_oracle_does(seed: int, layout: str) -> None:
    """Feature gates at 1, norms at identity, towers at the rate, matrices as nn.Linear's."""
    spec = {**random_spec(seed), "init": "torch"}  # tests/test_initial.py has the other
    torch.manual_seed(seed)
    model, module = build(load(spec), layout)
    oracle, state = Reference(spec), module.logical_state(model)
    for name, expected in oracle.logical_state().items():
        fixed = (
            ".up.weight",
            ".alpha",
            ".act.weight",
            ".missing",
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


def test_parity_where_names_begin_with_one_of_several_states() -> None:
    """The state `x.0` is `0_x` in names of variables, which no variable may begin with."""
    spec = yaml.safe_load("""\
homespec: 1
name: each
features: {buckets_0: {id: {buckets: 11}, dim: 2}}
groups:
  interaction: [social]
  social: [follow, x]
tasks: {click: {}, x: {}, follow: {}, B: {}}
gates: {feature: {loras: 2, rank: 2}, self: true}
layers:
- {outputs: [B, x, shared], experts: {interaction: 3, B: 1}}
- outputs: [shared, B, x]
  experts: {x: {count: 1, inputs: each}, B: 1, click: {count: 1}, follow: {count: 1}}
experts: {width: 4}
""")
    assert "nodes_0_x_to_B = " in homespec.compile(load(spec))
    compare(spec, Reference(spec), 1)
