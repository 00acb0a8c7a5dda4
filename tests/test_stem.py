"""Family `stem` as its paper defines it, and gates that see all sets and train their path."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
import yaml
from hierarchies import random_features, random_labels, randomise
from parity import build, compare, load
from stem_family import Stem, draw, spec_of
from test_inference import both
from torch import Tensor

import homespec
from homespec.bench import counting

torch.set_num_threads(1)
TEXT = """\
homespec: 1
name: stem
family: stem
features:
  user: {id: {vocab: 9}, dim: 4, at: [shared, tasks]}
  item: {id: {buckets: 9}, dim: 2, at: [shared, tasks]}
tasks: {click: {}, finish: {}, like: {}}
experts: {width: 4, activation: none}
towers: {hidden: []}
"""


@pytest.mark.parametrize("seed", range(30))
def test_as_published(seed: int) -> None:
    case = draw(random.Random(f"stem {seed}"))
    compare(spec_of(case), Stem(case), seed)


@pytest.mark.parametrize("seed", range(6))
def test_pruned_and_for_inference(seed: int) -> None:
    """All forward: a task needs the experts, and so the tables, of all tasks."""
    case = draw(random.Random(f"stem {seed}"))
    spec = spec_of(case)
    for tasks in (case.tasks[:1], None):
        full, _, model, module = both(spec, seed, mode="inference", tasks=tasks)
        features = random_features(spec, 8, torch.Generator().manual_seed(seed))
        expected = full(features)
        assert "mix_forward" not in homespec.compile(load(spec), mode="inference", tasks=tasks)
        for task, logit in model({name: features[name] for name in module.FEATURES}).items():
            torch.testing.assert_close(logit, expected[task], rtol=1e-9, atol=1e-9)


def gradients_of(task: str, layout: str, text: str = TEXT) -> dict[str, Tensor]:
    """The gradients of one task's loss, by logical name; those that are all 0 are left out."""
    spec = homespec.loads(text)
    model, module = build(spec, layout)
    generator = torch.Generator().manual_seed(0)
    module.load_logical_state(model, randomise(module.logical_state(model), generator))
    features = random_features(yaml.safe_load(text), 16, generator)
    labels = random_labels(yaml.safe_load(text), 16, generator)
    module.losses(model(features), labels)[task].backward()
    for parameter in model.parameters():
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parameter.data.copy_(grad)
    return {n: g.clone() for n, g in module.logical_state(model).items() if g.abs().sum() > 0}


@pytest.mark.parametrize("layout", ["optimised", "plain"])
def test_a_task_trains_what_is_on_its_path(layout: str) -> None:
    found = gradients_of("click", layout)
    owners = {name.split(".")[2] for name in found if name.startswith(("features.", "experts."))}
    assert owners == {"shared", "click"}
    unmasked = gradients_of("click", layout, TEXT + "gates: {mixture: {sees: all}}\n")
    assert any(name.startswith("experts.task.like") for name in unmasked)


def test_the_forward_pass_is_that_of_gates_that_see_all() -> None:
    spec: Any = yaml.safe_load(TEXT)
    other = {**spec, "gates": {"mixture": {"sees": "all"}}}
    features = random_features(spec, 8, torch.Generator().manual_seed(0))
    (model, module), (second, functions) = (
        build(load(each), "optimised") for each in (spec, other)
    )
    functions.load_logical_state(second, module.logical_state(model))
    for task, logit in model.eval()(features).items():
        torch.testing.assert_close(second.eval()(features)[task], logit)


def steps(tasks: int) -> int:
    """The operations of a step of a model with this many tasks."""
    spec: Any = yaml.safe_load(TEXT)
    spec |= {"tasks": {f"task_{i}": {} for i in range(tasks)}, "layers": 2}
    model, module = build(load(spec), "optimised")
    features = random_features(spec, 8, torch.Generator().manual_seed(0))
    labels = {task: torch.ones(8, dtype=torch.float64) for task in spec["tasks"]}
    return counting.operations(
        lambda: module.loss(model(features, stacked=True), labels).backward()
    )


def test_operations_do_not_depend_on_the_number_of_tasks() -> None:
    assert steps(3) == steps(9)
