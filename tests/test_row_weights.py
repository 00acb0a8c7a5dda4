"""Losses in which rows have weights: sample weights, and weights outside of sample spaces.

The reference goes task by task and row by row.
"""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from test_stacked import operations
from torch import Tensor

import homespec
from homespec.train.torch_compile import obstacle
from homespec.train.weighting import METHODS, weighting_of

ROWS = 12
HEAD: dict[str, Any] = {
    "homespec": 1,
    "name": "weighted",
    "family": "mmoe",
    "features": {"user": {"id": {"vocab": 9}, "dim": 4}},
    "experts": {"width": 4},
    "towers": {"hidden": [3]},
}
SPECS: dict[str, dict[str, Any]] = {
    "sample weights": {"a": {"sample_weight": "w"}, "b": {}, "c": {"sample_weight": "w"}},
    "all tasks": {t: {"sample_weight": "w"} for t in "abc"},
    "spaces": {"a": {"sample_weight": "w"}, "b": {"where": "a", "sample_weight": "v"}, "c": {}},
    "outside": {"a": {}, "b": {"where": "a", "outside_weight": 0.1}, "c": {}},
    "two outside": {
        "a": {"weight": 2},
        "b": {"where": "a", "outside_weight": 0.1, "sample_weight": "w"},
        "c": {"where": "b", "outside_weight": 0.5, "weight": 0.5},
    },
    "regressions": {
        "a": {"kind": "regression", "scale": 10, "sample_weight": "w", "loss": "huber"},
        "b": {"kind": "regression", "loss": "absolute"},
        "c": {"sample_weight": "v"},
    },
    "regressions in spaces": {
        "a": {"sample_weight": "w", "weight": 3},
        "b": {"kind": "regression", "where": "a", "outside_weight": 0.2},
        "c": {"kind": "regression", "where": "a"},
    },
    "pos_weight": {"a": {"pos_weight": 3}, "b": {}, "c": {"pos_weight": 0.5, "where": "b"}},
    "focal": {
        "a": {"focal": 2, "weight": 2},
        "b": {"focal": 1.5, "pos_weight": 4, "sample_weight": "w"},
        "c": {"kind": "regression", "loss": "huber"},
    },
    "products": {
        "a": {"weight": 0},
        "b": {"where": "a", "sample_weight": "w"},
        "c": {"product": ["a", "b"], "sample_weight": "w"},
    },
}
PARTS = {
    "squared": lambda z, y: (z - y) ** 2,
    "absolute": lambda z, y: abs(z - y),
    "huber": lambda z, y: 0.5 * (z - y) ** 2 if abs(z - y) <= 1 else abs(z - y) - 0.5,
}


def spec_of(tasks: dict[str, Any]) -> Any:
    return homespec.loads(yaml.safe_dump({**HEAD, "tasks": tasks}, sort_keys=False))


def drawn(tasks: dict[str, Any], seed: int) -> tuple[dict[str, Tensor], ...]:
    """Logits, labels and sample weights, some labels missing and some weights 0."""
    generator = torch.Generator().manual_seed(seed)

    def uniform() -> Tensor:
        return torch.rand(ROWS, generator=generator, dtype=torch.float64)

    logits = {t: 4 * uniform() - 2 for t in tasks}
    labels = {}
    for name, task in tasks.items():
        values = 20 * uniform() if task.get("kind") else (uniform() < 0.5).double()
        labels[name] = values.masked_fill(uniform() < 0.2, torch.nan)
    weights = {t: (2 * uniform()).masked_fill(uniform() < 0.3, 0.0) for t in sampled(tasks)}
    return logits, labels, weights


def sampled(tasks: dict[str, Any]) -> list[str]:
    return [name for name, task in tasks.items() if "sample_weight" in task]


def entropy(z: Tensor, y: float, pos_weight: float, focal: float) -> Tensor:
    p = torch.sigmoid(z)
    return -pos_weight * y * (1 - p) ** focal * p.log() - (1 - y) * p**focal * (1 - p).log()


def formula(
    tasks: dict[str, Any],
    name: str,
    logit: Tensor,
    labels: dict[str, Tensor],
    weight: Tensor | None,
) -> Tensor:
    """The loss of a task: the sum of w l over the sum of w."""
    task, top, bottom = tasks[name], 0.0 * logit.sum(), 0.0
    for row in range(ROWS):
        y = float(labels[name][row])
        w = 1.0 if weight is None else float(weight[row])
        if "where" in task:
            parent = float(labels[task["where"]][row])
            outside = task.get("outside_weight", 0.0)
            w *= 1.0 if parent == 1 else 0.0 if math.isnan(parent) else outside
        if math.isnan(y) or w == 0:
            continue
        if task.get("kind"):
            measure = PARTS[task.get("loss", "squared")]
            each = measure(logit[row], y / task.get("scale", 1.0))
        else:
            each = entropy(logit[row], y, task.get("pos_weight", 1.0), task.get("focal", 0.0))
        top, bottom = top + w * each, bottom + w
    return top / bottom if bottom else top


def expected_losses(
    tasks: dict[str, Any], logits: dict[str, Tensor], labels: dict[str, Tensor],
    weights: dict[str, Tensor],
) -> dict[str, Tensor]:  # fmt: skip
    return {t: formula(tasks, t, logits[t], labels, weights.get(t)) for t in tasks}


def arguments(code: ModuleType, *given: dict[str, Tensor]) -> tuple[dict[str, Tensor], ...]:
    """What the losses of a file take: it has sample weights or not."""
    return given if hasattr(code, "SAMPLE_WEIGHTS") else given[:2]


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SPECS)
def test_losses_and_gradients_are_those_of_the_formula(
    name: str, seed: int, optimize: bool
) -> None:
    tasks = SPECS[name]
    code = homespec.build_module(spec_of(tasks), optimize=optimize)
    logits, labels, weights = drawn(tasks, seed)
    if seed == 3:  # of one task no row counts
        for task, weight in weights.items():
            weights[task] = torch.zeros_like(weight)
            break
        else:
            labels["b"][:] = torch.nan
    for logit in logits.values():
        logit.requires_grad_()
    expected = expected_losses(tasks, logits, labels, weights)
    found = code.losses(*arguments(code, logits, labels, weights))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    total = sum(tasks[t].get("weight", 1.0) * loss for t, loss in expected.items())
    own = code.loss(*arguments(code, logits, labels, weights))
    torch.testing.assert_close(own, total, rtol=1e-10, atol=1e-10)
    for task in tasks:
        theirs, ours = (
            torch.autograd.grad(losses[task], logits[task], retain_graph=True, allow_unused=True)[0]
            for losses in (expected, found)
        )
        theirs = torch.zeros_like(ours) if theirs is None else theirs
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SPECS)
def test_compiled_as_one_graph(name: str) -> None:
    tasks = SPECS[name]
    code = homespec.build_module(spec_of(tasks))
    given = arguments(code, *drawn(tasks, 0))
    torch._dynamo.reset()
    backend = "eager" if obstacle() else "inductor"
    compiled = torch.compile(code.losses, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(*given), code.losses(*given), rtol=1e-10, atol=1e-10)


def test_weights_of_positives_are_those_of_torch() -> None:
    tasks = SPECS["pos_weight"] | {"c": {}}
    code = homespec.build_module(spec_of(tasks))
    logits, labels, _ = drawn(tasks, 0)
    seen = ~labels["a"].isnan()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits["a"][seen], labels["a"][seen], pos_weight=torch.tensor(3.0)
    )
    torch.testing.assert_close(code.losses(logits, labels)["a"], expected)


def test_a_focal_loss_of_sure_logits_is_finite() -> None:
    tasks = {"a": {"focal": 2}}
    code = homespec.build_module(spec_of(tasks))
    logits = torch.tensor([-1e4, 1e4, -1e4, 1e4, 0.0], requires_grad=True)
    labels = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
    loss = code.loss({"a": logits}, {"a": labels})
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_integers_and_halves_are_weights_too() -> None:
    tasks = SPECS["all tasks"]
    code = homespec.build_module(spec_of(tasks))
    logits, labels, _ = drawn(tasks, 0)
    ones = torch.ones(ROWS, dtype=torch.float64)
    expected = code.losses(logits, labels, dict.fromkeys(tasks, ones))
    for kind in (torch.int64, torch.float16, torch.float32, torch.bool):
        weights = dict.fromkeys(tasks, ones.to(kind))
        torch.testing.assert_close(code.losses(logits, labels, weights), expected)


def test_weights_are_relative() -> None:
    """The loss is a mean by weights: all of them twice as large change nothing."""
    tasks = SPECS["sample weights"]
    code = homespec.build_module(spec_of(tasks))
    logits, labels, weights = drawn(tasks, 1)
    twice = {task: 2 * weight for task, weight in weights.items()}
    torch.testing.assert_close(
        code.losses(logits, labels, twice), code.losses(logits, labels, weights)
    )


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_wrong_weights_are_refused_by_name(value: float) -> None:
    """In eager code by an error; where that would wait for a GPU, by a loss that is no number."""
    tasks = SPECS["sample weights"]
    code = homespec.build_module(spec_of(tasks))
    logits, labels, weights = drawn(tasks, 0)
    labels = {task: torch.ones_like(label) for task, label in labels.items()}
    weights["c"][3] = value
    with pytest.raises(ValueError, match=r"finite and at least 0: check those of c$"):
        code.loss(logits, labels, weights)
    torch._dynamo.reset()
    compiled = torch.compile(code.losses, fullgraph=True, backend="eager")
    found = compiled(logits, labels, weights)
    assert [task for task, loss in found.items() if loss.isnan()] == ["c"]


def test_shapes_of_weights_are_checked() -> None:
    tasks = SPECS["sample weights"]
    code = homespec.build_module(spec_of(tasks))
    logits, labels, weights = drawn(tasks, 0)
    with pytest.raises(ValueError, match="weights missing: c"):
        code.loss(logits, labels, {"a": weights["a"]})
    with pytest.raises(ValueError, match=r"weight c must be \[12\], not \[12, 1\]"):
        code.loss(logits, labels, {**weights, "c": weights["c"].unsqueeze(1)})


# ---------------------------------------------------------------- with other parts


def repeated(
    counts: dict[str, Tensor], labels: dict[str, Tensor], users: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Each row as often as the greatest of its weights says, with a label in as many as its own."""
    most = torch.stack(list(counts.values())).amax(0)
    at = torch.arange(ROWS).repeat_interleave(most)
    number = torch.cat([torch.arange(int(each)) for each in most])
    own = {
        task: label[at].masked_fill(number >= counts[task][at], torch.nan)
        for task, label in labels.items()
    }
    return users[at], own


@pytest.mark.parametrize("method", METHODS)
def test_every_weighting_takes_a_row_of_weight_2_for_two_rows(method: str) -> None:
    """The gradients of the weighted tasks together are those of a file with repeated rows."""
    tasks = {
        t: {"sample_weight": "w", "weight": w} for t, w in zip("abc", (1, 2, 0.5), strict=True)
    }
    _, labels, _ = drawn(tasks, 0)
    generator = torch.Generator().manual_seed(1)
    counts = {t: torch.randint(0, 4, (ROWS,), generator=generator) for t in tasks}
    users = torch.randint(0, 9, (ROWS,), generator=generator)

    def gradients(users: Tensor, labels: dict[str, Tensor], weights: dict[str, Tensor]) -> Any:
        code = homespec.build_module(spec_of(tasks))
        torch.manual_seed(0)
        model = code.Model().double()
        views = functools.partial(code.logical_views, model)
        weighting = weighting_of(method, code.WEIGHTS, dict.fromkeys(tasks, "binary"), views)
        losses_T = code.stacked_losses(model({"user": users}), labels, weights)
        leaves = dict(model.named_parameters())
        weighting.backward(weighting.loss(losses_T), losses_T, leaves)
        grads = {name: leaf.grad for name, leaf in leaves.items()}
        return grads, {n: p.grad for n, p in weighting.named_parameters()}

    many, own = repeated(counts, labels, users)
    ones = dict.fromkeys(tasks, torch.ones(len(many), dtype=torch.float64))
    found = gradients(users, labels, {t: count.double() for t, count in counts.items()})
    expected = gradients(many, own, ones)
    tolerance = 1e-4 if method == "cagrad" else 1e-10  # of a solver
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("name", SPECS)
def test_pruned_files_weigh_rows_as_the_whole(name: str, optimize: bool) -> None:
    tasks = SPECS[name]
    given = drawn(tasks, 2)
    whole = homespec.build_module(spec_of(tasks), optimize=optimize)
    expected = whole.losses(*arguments(whole, *given))
    for kept in ("b", "c"):
        code = homespec.build_module(spec_of(tasks), optimize=optimize, tasks=[kept])
        found = code.losses(*arguments(code, *given))
        torch.testing.assert_close(
            found, {task: expected[task] for task in code.TASKS}, rtol=1e-10, atol=1e-10
        )


def test_files_for_inference_know_no_weights() -> None:
    tasks = SPECS["two outside"] | {"a": {"unknown": -1}}
    code = homespec.build_module(spec_of(tasks), mode="inference")
    for name in ("LABELS", "SAMPLE_WEIGHTS", "OUTSIDE", "UNKNOWN", "row_weights", "loss"):
        assert not hasattr(code, name), name


@pytest.mark.parametrize("optimize", [True, False])
def test_files_say_what_is_unknown(optimize: bool) -> None:
    """Also of a label that only says who is in the sample space of another task."""
    tasks = {"a": {"unknown": -1, "label": "x > 0"}, "b": {"where": "a", "unknown": "?"}, "c": {}}
    code = homespec.build_module(spec_of(tasks), optimize=optimize)
    assert code.UNKNOWN == {"a": -1, "b": "?"}
    pruned = homespec.build_module(spec_of(tasks), optimize=optimize, tasks=["b"])
    assert pruned.LABELS == {"b": "b", "a": "x > 0"}
    assert pruned.UNKNOWN == {"b": "?", "a": -1}
    plain = homespec.build_module(spec_of({"a": {}, "b": {}}), optimize=optimize)
    assert not hasattr(plain, "UNKNOWN")


def test_a_compiled_step_has_no_operations_for_single_tasks() -> None:
    def many(count: int) -> Any:
        tasks: dict[str, Any] = {"t0": {"sample_weight": "w"}}
        for number in range(1, count):
            tasks[f"t{number}"] = {"where": "t0", "outside_weight": 0.1, "sample_weight": "w"}
        return spec_of(tasks)

    assert operations(many(4)) == operations(many(16))
