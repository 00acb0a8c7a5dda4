"""Logits of all tasks as one tensor: equal to those by task, and as many operations for any T."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scaling import scaled
from torch import Tensor, fx
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.aot_autograd import make_boxed_func

import homespec
from homespec.api import LoadedSpec
from homespec.bench.candidates import model_loss
from homespec.bench.compile_time import spec_text
from homespec.bench.random_batch import random_features, random_labels

SMALL = Path(__file__).parents[1] / "benchmarks/specs/small.yaml"
GROUPS = "features: {x: {dense: 6}}\ngroups: {g: [a, b], h: [c]}\nexperts: {width: 4}\n"
SPECS = {
    "in order": "tasks: {a: {}, b: {}, c: {}}",
    "in another order": "tasks: {c: {}, a: {}, b: {}}",
    "unequal towers": "tasks: {a: {}, b: {}, c: {tower: {hidden: [3]}}}",
    "sample spaces": "tasks: {a: {}, b: {where: a}, c: {where: a}}",
    "weights": "tasks: {a: {weight: 2}, b: {weight: 2}, c: {weight: 0.5}}",
    "one weight": "tasks: {a: {weight: 2}, b: {weight: 2}, c: {weight: 2}}",
    "regression": "tasks: {a: {}, b: {kind: regression, scale: 10}, c: {}}",
    "unequal towers in another order": "tasks: {c: {}, a: {tower: {hidden: [3]}}, b: {}}",
    "product": "tasks: {p: {product: [a, c]}, a: {}, b: {}, c: {}}",
}


def test_gradients_lie_as_their_weights() -> None:
    """So that autograd takes them over: it copies gradients of another layout, each by a kernel."""
    spec = homespec.load(SMALL)
    code, model = homespec.build_module(spec), homespec.build(spec)
    features, labels = random_features(spec, 16, "cpu"), random_labels(spec, 16, "cpu")
    loss = model_loss(model, code)(features, labels)
    names, tensors = zip(*model.named_parameters(), strict=True)
    found = dict(zip(names, torch.autograd.grad(loss, tensors), strict=True))
    assert {name for name, gradient in found.items() if not gradient.is_contiguous()} == set()


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("tasks", SPECS.values(), ids=SPECS)
def test_stacked_equals_by_task(tasks: str, optimize: bool) -> None:
    """Logits bit by bit; losses to rounding, from formulas, whatever form the logits have."""
    spec = homespec.loads(f"homespec: 1\nname: t\n{GROUPS}{tasks}\n")
    code = homespec.build_module(spec, optimize=optimize)
    torch.manual_seed(0)
    model = homespec.build(spec, optimize=optimize, dtype=torch.float64).eval()
    features, labels = random_features(spec, 16, "cpu"), random_labels(spec, 16, "cpu")
    logits, logits_TB = model(features), model(features, stacked=True)
    assert list(logits) == list(code.TASKS)
    assert torch.equal(logits_TB, torch.stack(list(logits.values())))
    expected = formulas(code, logits, labels)
    for given in (logits, logits_TB):
        torch.testing.assert_close(code.losses(given, labels), expected)
        torch.testing.assert_close(
            code.stacked_losses(given, labels), torch.stack([expected[t] for t in code.TASKS])
        )
        total = sum(code.WEIGHTS[task] * loss for task, loss in expected.items())
        torch.testing.assert_close(code.loss(given, labels), total)


def formulas(
    code: ModuleType, logits: dict[str, Tensor], labels: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Each task's loss by itself."""
    found = {}
    for task, logit in logits.items():
        label = labels[task].double() / getattr(code, "SCALES", {}).get(task, 1.0)
        seen = ~label.isnan()
        if task in getattr(code, "WHERE", {}):
            seen &= labels[code.WHERE[task]] == 1
        measures = getattr(code, "MEASURES", {})
        binary = F.binary_cross_entropy_with_logits
        measure = next((m for m, tasks in measures.items() if task in tasks), binary)
        found[task] = measure(logit[seen], label[seen])
    return found


def interleaved(spec: LoadedSpec) -> LoadedSpec:
    """The spec with every other task in the other one of its two groups."""
    tasks = list(spec.tasks)
    text = spec_text(spec)
    lines = [line for line in text.splitlines() if not line.startswith("groups:")]
    groups = f"groups: {{even: [{', '.join(tasks[::2])}], odd: [{', '.join(tasks[1::2])}]}}"
    return homespec.loads("\n".join([*lines, groups]))


def operations(spec: LoadedSpec) -> list[Counter[str]]:
    """What a compiled step computes, forward and backward."""
    found: list[Counter[str]] = []

    def note(graph: fx.GraphModule, example: Any) -> Any:
        found.append(Counter(str(n.target) for n in graph.graph.nodes if n.op == "call_function"))
        return make_boxed_func(graph.forward)

    code, model = homespec.build_module(spec), homespec.build(spec)
    backend = aot_autograd(fw_compiler=note, bw_compiler=note)
    step = torch.compile(model_loss(model, code), backend=backend, fullgraph=True, dynamic=False)
    step(random_features(spec, 8, "cpu"), random_labels(spec, 8, "cpu")).backward()
    return found


@pytest.mark.parametrize("order", [lambda spec: spec, interleaved], ids=["groups", "interleaved"])
def test_a_compiled_step_has_no_operations_for_single_tasks(
    order: Callable[[LoadedSpec], LoadedSpec],
) -> None:
    """Those would be kernels of their own on a GPU; also where tasks of groups alternate."""
    few, many = (operations(order(scaled(homespec.load(SMALL), tasks))) for tasks in (4, 16))
    assert len(few) == 2
    assert few == many


def test_interleaved_groups_cost_one_gather() -> None:
    """Forward an index, backward its gradient: the rest is as with tasks in their groups' order."""
    spec = scaled(homespec.load(SMALL), 8)
    for plain, mixed in zip(operations(spec), operations(interleaved(spec)), strict=True):
        assert not plain - mixed
        assert sum((mixed - plain).values()) <= 2
