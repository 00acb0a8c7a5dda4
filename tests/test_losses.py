"""What generated losses take: shapes, types and values of labels and logits, by task."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call, grad, vmap

import homespec

HEAD = """
homespec: 1
name: labels
family: shared_bottom
features: {user: {id: {vocab: 9}, dim: 4}}
experts: {width: 4, norm: none}
towers: {hidden: []}
"""
TASKS = {
    "binary": "tasks: {click: {}, like: {}, share: {}}",
    "spaces": "tasks: {click: {}, like: {where: click}, share: {where: like}}",
    "regression": "tasks: {watch: {kind: regression}}",
    "mixed": "tasks: {watch: {kind: regression, scale: 60, loss: huber}, click: {},"
    " like: {where: click, weight: 2}, both: {product: [click, like]}}",
}
ROWS = 6


def code_of(name: str, optimize: bool = True) -> ModuleType:
    return homespec.build_module(homespec.loads(HEAD + TASKS[name]), optimize=optimize)


def drawn(code: ModuleType, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    logits = {task: torch.randn(ROWS, generator=generator) for task in code.TASKS}
    labels = {t: torch.randint(2, (ROWS,), generator=generator).float() for t in code.LABELS}
    return logits, labels


def stacked(code: ModuleType, logits: dict[str, Tensor]) -> Tensor:
    return torch.stack([logits[task] for task in code.TASKS])


SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "[6, 1]": lambda t: t.unsqueeze(1),
    "[1, 6]": lambda t: t.unsqueeze(0),
    "[1]": lambda t: t[:1],
    "[5]": lambda t: t[:5],
    "[12]": lambda t: torch.cat([t, t]),
    "[]": lambda t: t[0],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", TASKS)
def test_each_label_has_a_value_for_each_row(name: str, shape: str) -> None:
    """Any other shape would be broadcast, or mean the values of other rows."""
    code = code_of(name)
    logits, labels = drawn(code)
    for task in code.LABELS:
        wrong = {**labels, task: SHAPES[shape](labels[task])}
        message = f"label {task} must be [6], not {shape}"
        for given_logits in (logits, stacked(code, logits)):
            for function in (code.loss, code.losses, code.stacked_losses):
                with pytest.raises(ValueError) as caught:
                    function(given_logits, wrong)
                assert str(caught.value) == message


@pytest.mark.parametrize("name", TASKS)
def test_logits_fit_the_labels(name: str) -> None:
    code = code_of(name)
    logits, labels = drawn(code)
    last = code.TASKS[-1]
    count = len(code.TASKS)
    for wrong, message in (
        ({t: v for t, v in logits.items() if t != last}, f"logits missing: {last}"),
        ({}, f"logits missing: {', '.join(code.TASKS)}"),
        ({t: v.unsqueeze(1) for t, v in logits.items()}, r"logit \w+ must be \[B\], not \[6, 1"),
        (torch.zeros(count + 1, ROWS), rf"must be \[{count}, B\], not \[{count + 1}, 6\]"),
        (torch.zeros(ROWS), rf"stacked logits must be \[{count}, B\], not \[6\]"),
        (torch.zeros(count, ROWS, 1), rf"must be \[{count}, B\], not \[{count}, 6, 1\]"),
        (torch.zeros(count, 1), r"label \w+ must be \[1\], not \[6\]"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            code.loss(wrong, labels)
    first = code.TASKS[0]
    with pytest.raises(ValueError, match=f"labels missing: {first}"):
        code.loss(logits, {t: v for t, v in labels.items() if t != first})


@pytest.mark.parametrize("name", TASKS)
def test_types_of_labels_and_entries_beside_them_change_nothing(name: str) -> None:
    code = code_of(name)
    logits, labels = drawn(code)
    expected = code.stacked_losses(logits, labels)
    more = {**labels, "user_id": torch.zeros(3, 3)}
    assert torch.equal(code.stacked_losses({**logits, "other": torch.zeros(1)}, more), expected)
    types = [torch.int64, torch.bool, torch.uint8, torch.float64, torch.float16]
    for i in range(len(types)):
        mixed = {t: v.to(types[(i + j) % len(types)]) for j, (t, v) in enumerate(labels.items())}
        found = code.stacked_losses(logits, mixed)
        torch.testing.assert_close(found, expected, check_dtype=False)


def test_sample_spaces_need_their_parents_in_the_same_rows() -> None:
    code = code_of("mixed")
    _, labels = drawn(code)
    with pytest.raises(ValueError, match="labels missing: click"):
        code.observed({"like": labels["like"]})
    for task in ("click", "like"):
        with pytest.raises(ValueError, match=r"label \w+ must be \[\d\], not \[5\]|\[6\]"):
            code.observed({**labels, task: labels[task][:5]})
        with pytest.raises(ValueError, match=f"label {task} must be .(6|B)., not .6, 1."):
            code.observed({**labels, task: labels[task].unsqueeze(1)})
    assert code.observed({t: labels[t].long() for t in ("click", "like")})["like"].isnan().any()


WRONG = [-1.0, 2.0, -1e-3, 1.001, float("inf"), float("-inf")]


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("name", ["binary", "spaces", "mixed"])
def test_labels_of_binary_tasks_are_zero_to_one(name: str, value: float) -> None:
    """In eager code a refusal by name; where that would wait for a GPU, no finite loss."""
    code = code_of(name)
    logits, labels = drawn(code)
    labels = {task: torch.ones_like(label) for task, label in labels.items()}
    wrong = {**labels, "click": labels["click"].clone()}
    wrong["click"][2] = value
    with pytest.raises(ValueError, match=r"from 0 to 1, or NaN: check those of click$"):
        code.loss(logits, wrong)
    torch._dynamo.reset()
    compiled = torch.compile(code.losses, fullgraph=True, backend="eager")
    found = compiled(logits, wrong)
    assert [task for task, loss in found.items() if loss.isnan()] == ["click"]
    assert all(loss.isfinite() for loss in compiled(logits, labels).values())


def test_values_outside_of_a_sample_space_do_not_matter() -> None:
    code = code_of("spaces")
    logits, labels = drawn(code)
    labels["click"][:] = 0.0
    labels["like"][:] = -1.0
    labels["share"][:] = torch.nan
    assert code.losses(logits, labels)["like"] == 0.0


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=ROWS, max_size=ROWS))
def test_soft_labels_count_as_probabilities(values: list[float]) -> None:
    code = code_of("binary")
    logits, labels = drawn(code)
    labels["like"] = torch.tensor(values, dtype=torch.float64)
    found = code.losses(logits, labels)["like"]
    p, y = logits["like"].double().sigmoid(), labels["like"]
    each = -(y * p.log() + (1 - y) * (1 - p).log())
    expected = each[~y.isnan()].mean() if (~y.isnan()).any() else torch.zeros(())
    torch.testing.assert_close(found, expected.double(), rtol=1e-6, atol=1e-6)


def test_regressions_take_any_number() -> None:
    code = code_of("regression")
    logits, labels = drawn(code)
    labels["watch"] = torch.tensor([-1.0, 2.0, 1e6, 0.0, torch.nan, 3.0])
    assert code.loss(logits, labels).isfinite()


@pytest.mark.parametrize("name", ["binary", "mixed"])
def test_gradients_of_single_rows(name: str) -> None:
    """torch.func.vmap shows no numbers that could be looked at: what is wrong becomes NaN."""
    code = code_of(name, optimize=False)
    model = code.Model()
    _, labels = drawn(code)
    labels["click"][1] = 2.0

    def loss(weights: Any, user: Tensor, labels: dict[str, Tensor]) -> Tensor:
        logits = functional_call(model, weights, ({"user": user[None]},))
        found: Tensor = code.loss(logits, {task: label[None] for task, label in labels.items()})
        return found

    weights = {name: p.detach() for name, p in model.named_parameters()}
    found = vmap(grad(loss), (None, 0, 0))(weights, torch.arange(ROWS), labels)
    wrong = [any(g[row].isnan().any() for g in found.values()) for row in range(ROWS)]
    assert wrong == [row == 1 for row in range(ROWS)]
