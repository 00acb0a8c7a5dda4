"""The term of losses that ranks the rows of a session, against loops over sessions."""

from __future__ import annotations

import itertools
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

ROWS = 24
HEAD: dict[str, Any] = {
    "homespec": 1,
    "name": "sessions",
    "family": "mmoe",
    "features": {"user": {"id": {"vocab": 9}, "dim": 4}},
    "experts": {"width": 4},
    "towers": {"hidden": [3]},
}
BY = {"within": {"column": "session", "weight": 0.3}}
ONE = {"within": {"column": "session"}}
SPECS: dict[str, dict[str, Any]] = {
    "all tasks": {"a": ONE, "b": ONE, "c": ONE},
    "some": {"a": BY, "b": {}, "c": ONE},
    "weights": {"a": {**BY, "sample_weight": "w"}, "b": {"sample_weight": "v"}, "c": ONE},
    "spaces": {"a": BY, "b": {**ONE, "where": "a"}, "c": {"where": "b", **BY}},
    "outside": {
        "a": {"weight": 2},
        "b": {**ONE, "where": "a", "outside_weight": 0.1, "sample_weight": "w"},
        "c": {**BY, "weight": 0.5},
    },
    "shapes": {"a": {**BY, "pos_weight": 3}, "b": {**ONE, "focal": 2}, "c": {}},
    "regression": {"a": {"kind": "regression", "scale": 10}, "b": ONE, "c": {}},
    "products": {
        "a": {**BY, "weight": 0},
        "b": {"where": "a"},
        "c": {"product": ["a", "b"], **ONE},
    },
}


def spec_of(tasks: dict[str, Any]) -> Any:
    return homespec.loads(yaml.safe_dump({**HEAD, "tasks": tasks}, sort_keys=False))


def drawn(tasks: dict[str, Any], seed: int) -> tuple[Any, Any, Any, Tensor]:
    """Logits, labels, sample weights and sessions: some labels and sessions missing."""
    generator = torch.Generator().manual_seed(seed)

    def uniform() -> Tensor:
        return torch.rand(ROWS, generator=generator, dtype=torch.float64)

    logits = {t: 6 * uniform() - 3 for t in tasks}
    labels = {}
    for name, task in tasks.items():
        values = 20 * uniform() if task.get("kind") else (uniform() < 0.5).double()
        labels[name] = values.masked_fill(uniform() < 0.2, torch.nan)
    weights = {
        t: (2 * uniform()).masked_fill(uniform() < 0.3, 0.0)
        for t, task in tasks.items()
        if "sample_weight" in task
    }
    sessions = torch.randint(-1, 5, (ROWS,), generator=generator) * 10**12
    return logits, labels, weights, sessions.masked_fill(sessions < 0, -1)


def row_weight(tasks: dict[str, Any], name: str, labels: Any, weights: Any, row: int) -> float:
    """How much a row counts for a task."""
    task = tasks[name]
    weight = float(weights[name][row]) if name in weights else 1.0
    if math.isnan(labels[name][row]):
        return 0.0
    if "where" in task:
        parent = float(labels[task["where"]][row])
        inside = 0.0 if math.isnan(parent) else task.get("outside_weight", 0.0)
        weight *= 1.0 if parent == 1 else inside
    return weight


def ranking(z: Tensor, y: list[float], w: list[float], sessions: Tensor) -> Tensor:
    """The mean of -log of the share of a row among itself and those that it competes with."""
    total = 0.0 * z.sum()
    for row in range(len(z)):
        if w[row] == 0 or sessions[row] == -1:
            continue
        sign = 1 if y[row] else -1
        others = [
            i for i in range(len(z)) if w[i] and sessions[i] == sessions[row] and y[i] != y[row]
        ]
        all_of_them = torch.stack([z[i] for i in (row, *others)])
        total = total - w[row] * torch.log_softmax(sign * all_of_them, 0)[0]
    return total / sum(w) if sum(w) else total


def more_of(code: ModuleType, weights: Any, sessions: Tensor) -> tuple[Any, ...]:
    return (*[weights] * hasattr(code, "SAMPLE_WEIGHTS"), sessions)


def without(tasks: dict[str, Any]) -> dict[str, Any]:
    return {t: {k: v for k, v in task.items() if k != "within"} for t, task in tasks.items()}


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SPECS)
def test_losses_and_gradients_are_those_of_loops(name: str, seed: int, optimize: bool) -> None:
    tasks = SPECS[name]
    code = homespec.build_module(spec_of(tasks), optimize=optimize)
    bare = homespec.build_module(spec_of(without(tasks)), optimize=optimize)
    logits, labels, weights, sessions = drawn(tasks, seed)
    if seed == 3:
        labels["b"][:] = torch.nan
    for logit in logits.values():
        logit.requires_grad_()
    found = code.losses(logits, labels, *more_of(code, weights, sessions))
    expected = bare.losses(logits, labels, *[weights] * hasattr(bare, "SAMPLE_WEIGHTS"))
    for task, own in tasks.items():
        if "within" in own:
            each = [row_weight(tasks, task, labels, weights, row) for row in range(ROWS)]
            term = ranking(logits[task], labels[task].tolist(), each, sessions)
            expected[task] = expected[task] + own["within"].get("weight", 1.0) * term
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    total = sum(tasks[t].get("weight", 1.0) * loss for t, loss in expected.items())
    loss = code.loss(logits, labels, *more_of(code, weights, sessions))
    torch.testing.assert_close(loss, total, rtol=1e-10, atol=1e-10)
    for task in tasks:
        theirs, ours = (
            torch.autograd.grad(losses[task], logits[task], retain_graph=True)[0]
            for losses in (expected, found)
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_true_log_odds_are_an_optimum_whatever_the_session_adds() -> None:
    """The mean gradient over all labels that a session may have is 0 there, so that the term and
    the loss of single rows agree: the reason for one logit where the paper has two.
    """
    code = homespec.build_module(spec_of({"a": ONE}))
    odds = torch.tensor([-2.0, -0.5, 0.3, 1.1, -1.2], dtype=torch.float64)
    chances = odds.sigmoid()
    sessions = torch.zeros(5, dtype=torch.int64)
    logits = (odds + 0.7).requires_grad_()
    mean = torch.zeros(())
    for outcome in itertools.product((0.0, 1.0), repeat=5):
        labels = torch.tensor(outcome, dtype=torch.float64)
        chance = torch.where(labels == 1, chances, 1 - chances).prod()
        weights = torch.ones(1, 5, dtype=torch.float64)
        mean = mean + chance * code.session_losses(
            logits.unsqueeze(0), {"a": labels}, weights, sessions
        )
    (gradient,) = torch.autograd.grad(mean.sum(), logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["some", "weights", "products"])
def test_compiled_as_one_graph(name: str) -> None:
    tasks = SPECS[name]
    code = homespec.build_module(spec_of(tasks))
    logits, labels, weights, sessions = drawn(tasks, 0)
    more = more_of(code, weights, sessions)
    torch._dynamo.reset()
    backend = "eager" if obstacle() else "inductor"
    compiled = torch.compile(code.losses, fullgraph=True, backend=backend)
    torch.testing.assert_close(
        compiled(logits, labels, *more), code.losses(logits, labels, *more), rtol=1e-10, atol=1e-10
    )


def test_great_logits_give_finite_losses_and_gradients() -> None:
    code = homespec.build_module(spec_of({"a": ONE}))
    logits = torch.tensor([-1e4, 1e4, -1e4, 1e4, 0.0, 3e4], requires_grad=True)
    labels = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    sessions = torch.tensor([0, 0, 1, 1, 1, 2])
    loss = code.loss({"a": logits}, {"a": labels}, sessions)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_halves_are_computed_in_float32() -> None:
    code = homespec.build_module(spec_of({"a": ONE}))
    logits, labels, _, sessions = drawn({"a": ONE}, 0)
    logits = {"a": logits["a"].bfloat16()}
    found = code.loss(logits, {"a": labels["a"].float()}, sessions)
    expected = code.loss({"a": logits["a"].float()}, {"a": labels["a"].float()}, sessions)
    assert found.dtype == torch.float32
    assert found == expected


def test_wrong_sessions_are_refused() -> None:
    code = homespec.build_module(spec_of({"a": ONE}))
    logits, labels, _, sessions = drawn({"a": ONE}, 0)
    with pytest.raises(ValueError, match=r"session ids must be \[24\], not \[24, 1\]"):
        code.loss(logits, labels, sessions.unsqueeze(1))
    with pytest.raises(ValueError, match=r"session ids must be integers, not torch\.float64"):
        code.loss(logits, labels, sessions.double())


@pytest.mark.parametrize("name", SPECS)
def test_pruned_files_rank_as_the_whole(name: str) -> None:
    tasks = SPECS[name]
    logits, labels, weights, sessions = drawn(tasks, 2)
    whole = homespec.build_module(spec_of(tasks))
    expected = whole.losses(logits, labels, *more_of(whole, weights, sessions))
    for kept in ("b", "c"):
        code = homespec.build_module(spec_of(tasks), tasks=[kept])
        given = [weights] * hasattr(code, "SAMPLE_WEIGHTS") + [sessions] * hasattr(code, "SESSIONS")
        found = code.losses(logits, labels, *given)
        torch.testing.assert_close(
            found, {task: expected[task] for task in code.TASKS}, rtol=1e-10, atol=1e-10
        )


def test_files_for_inference_know_no_sessions() -> None:
    code = homespec.build_module(spec_of(SPECS["some"]), mode="inference")
    for name in ("SESSIONS", "WITHIN", "session_losses", "loss"):
        assert not hasattr(code, name), name


def test_a_compiled_step_has_no_operations_for_single_tasks() -> None:
    def many(count: int) -> Any:
        tasks: dict[str, Any] = {"t0": {}}
        for number in range(1, count):
            tasks[f"t{number}"] = {"where": "t0", **BY}
        return spec_of(tasks)

    assert operations(many(4)) == operations(many(16))
