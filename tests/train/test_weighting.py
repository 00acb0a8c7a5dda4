"""Weightings by hand and by definition; every one trains a small HoME; sparse, compiled, ranks."""

from __future__ import annotations

import builtins
import math
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import homespec
from homespec import runtime
from homespec.api import LoadedSpec
from homespec.installation import install_command
from homespec.train import RunError
from homespec.train.optimizers import decayed, optimizer_of
from homespec.train.sparse_embeddings import SparseTables
from homespec.train.torch_compile import obstacle
from homespec.train.weighting import METHODS, Weighting, weighting_of
from homespec.train.weighting.gradnorm import last_shared

SURGERY = ("pcgrad", "cagrad")


def no_views(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors


def x_views(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"experts.task.shared.0.linears.0.weight": tensors["x"]}


def made(method: str, tasks: int, views: Any = no_views, **options: Any) -> Weighting:
    weights = {f"t{i}": 1.0 for i in range(tasks)}
    return weighting_of(method, weights, dict.fromkeys(weights, "binary"), views, **options)


def backward(
    weighting: Weighting,
    losses_T: Tensor,
    leaves: Mapping[str, Tensor],
    rows: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The loss, after its backward pass."""
    loss = weighting.loss(losses_T)
    weighting.backward(loss, losses_T, leaves, rows)
    return loss.detach()


def combined(method: str, gradients: list[list[float]], **options: Any) -> Tensor:
    """What a method makes of these gradients of one shared vector."""
    x = torch.zeros(len(gradients[0]), dtype=torch.float64, requires_grad=True)
    losses_T = torch.tensor(gradients, dtype=torch.float64) @ x
    backward(made(method, len(gradients), **options), losses_T, {"x": x})
    assert x.grad is not None
    return x.grad


# ---------------------------------------------------------------- methods by hand


def test_pcgrad_projects_both_of_two_that_conflict() -> None:
    """(2, 1) and (-1, 1) become (1.5, 1.5) and (-0.6, 1.2), each orthogonal to the other one."""
    found = combined("pcgrad", [[2.0, 1.0], [-1.0, 1.0]])
    torch.testing.assert_close(found, torch.tensor([0.9, 2.7], dtype=torch.float64))


def test_pcgrad_leaves_gradients_that_agree() -> None:
    found = combined("pcgrad", [[1.0, 2.0], [2.0, 0.5]])
    assert found.tolist() == [3.0, 2.5]


def test_what_one_task_alone_reads_gets_its_own_gradient() -> None:
    """The third element belongs to task 0 alone: neither its size nor its gradient takes part."""
    found = combined("pcgrad", [[1.0, 0.5, 100.0], [-1.0, 1.0, 0.0]])
    shared = combined("pcgrad", [[1.0, 0.5], [-1.0, 1.0]])
    torch.testing.assert_close(found, torch.cat([shared, shared.new_tensor([100.0])]))
    assert shared.tolist() != [0.0, 1.5]


def test_cagrad_is_its_definition() -> None:
    """The best of all directions in the ball around the sum, found by trying them."""
    gradients, c = [[1.0, 0.2], [-0.6, 0.4]], 0.4
    g = np.array(gradients)
    total = g.sum(0)
    angle, radius = np.meshgrid(np.linspace(0, 2 * math.pi, 2001), np.linspace(0, 1, 201))
    ball = (
        np.stack([np.cos(angle), np.sin(angle)], -1)
        * (radius * c * np.linalg.norm(total))[..., None]
    )
    worst = ((total + ball) @ g.T).min(-1)
    found = combined("cagrad", gradients, c=c).numpy()
    assert np.linalg.norm(found - total) <= c * np.linalg.norm(total) * 1.001
    assert (g @ found).min() == pytest.approx(worst.max(), rel=2e-3)
    assert (g @ total).min() < worst.max() - 0.01


def test_cagrad_without_radius_is_the_sum() -> None:
    found = combined("cagrad", [[1.0, 0.2], [-0.6, 0.4]], c=0.0)
    torch.testing.assert_close(found, torch.tensor([0.4, 0.6], dtype=torch.float64))


def test_uncertainty_finds_the_noise_of_each_task() -> None:
    """At the optimum exp(s) is twice a binary task's loss and a regression's loss itself."""
    kinds = {"a": "binary", "b": "regression", "unseen": "binary"}
    weighting = weighting_of("uncertainty", {"a": 1.0, "b": 3.0, "unseen": 1.0}, kinds, no_views)
    optimizer = torch.optim.Adam(weighting.groups(), lr=0.05)
    losses_T = torch.tensor([0.05, 4.0, 0.0], requires_grad=True)
    for _ in range(800):
        optimizer.zero_grad()
        backward(weighting, losses_T, {})
        optimizer.step()
    s_T = next(weighting.parameters())
    expected = [math.log(2 * 0.05), math.log(4.0), 0.0]
    torch.testing.assert_close(s_T.detach(), torch.tensor(expected), rtol=1e-3, atol=1e-3)
    expected = {"a": 1 / (2 * 0.05), "b": 3 * 0.5 / 4, "unseen": 1.0}
    assert weighting.current() == pytest.approx(expected, rel=1e-2)


def short(length: float) -> list[list[float]]:
    return [[1.0 * length, 0.2 * length], [-0.6 * length, 0.4 * length]]


@pytest.mark.parametrize("length", [1e-9, 1e-3, 1e6])
@pytest.mark.parametrize("method", SURGERY)
def test_the_length_of_gradients_changes_no_direction(method: str, length: float) -> None:
    expected = combined(method, short(1.0))
    torch.testing.assert_close(combined(method, short(length)) / length, expected)


def test_cagrad_trains_on_where_a_mixture_of_gradients_is_zero() -> None:
    """No d helps both of two opposite tasks, and 0 is not in the ball around the sum."""
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    found = combined("cagrad", gradients.tolist(), c=0.5)
    total = gradients.sum(0).double()
    assert (found - total).norm() <= 0.5 * total.norm()
    assert (gradients.double() @ found).min() >= -1e-6


# ---------------------------------------------------------------- tasks that take no part

ABSENT = {"no label in the batch": (1.0, 0.0), "weight 0 in the spec": (0.0, 1.0)}
"""The weight of a third task, and its loss in units of what its gradient asks for."""


def steps(method: str, third: tuple[float, float] | None) -> list[Tensor]:
    """Three steps of two tasks that conflict, beside a third one: gradients and what is learned."""
    weights = {"a": 1.0, "b": 0.5} | ({} if third is None else {"c": third[0]})
    kinds = dict.fromkeys(weights, "binary")
    weighting = weighting_of(method, weights, kinds, x_views)
    optimizer = torch.optim.SGD(weighting.groups() or [torch.zeros(1)], lr=0.1)
    directions = torch.tensor([[1.0, 0.3, -0.5], [-0.8, 0.5, 0.4], [0.2, 0.9, 0.7]])
    found = []
    for step in range(3):
        torch.manual_seed(step)  # PCGrad's order
        x = torch.full((3,), 0.1 * step, requires_grad=True)
        losses_T = (directions @ x + torch.tensor([1.0, 3.0, 2.0]))[: len(weights)]
        if third is not None:
            losses_T = losses_T * torch.tensor([1.0, 1.0, third[1]])
        optimizer.zero_grad()
        backward(weighting, losses_T, {"x": x})
        optimizer.step()
        assert x.grad is not None
        found += [x.grad, *(p.detach()[:2].softmax(0) for p in weighting.parameters())]
        found.append(torch.tensor([weighting.current()[task] for task in ("a", "b")]))
    return found


@pytest.mark.parametrize(
    ("method", "absent"),
    [(m, a) for m in METHODS for a in ABSENT if m != "gradnorm" or "weight 0" in a],
)  # under gradnorm a task without labels keeps its weight: see the next test
def test_a_task_that_takes_no_part_changes_nothing(method: str, absent: str) -> None:
    torch.testing.assert_close(steps(method, ABSENT[absent]), steps(method, None))


def test_gradnorm_balances_the_tasks_that_have_labels_among_themselves() -> None:
    """The task without labels keeps its weight; the others come to where they are without it."""
    weights = {"a": 1.0, "b": 1.0, "rare": 1.0}
    weighting = weighting_of("gradnorm", weights, dict.fromkeys(weights, "binary"), x_views)
    optimizer = torch.optim.SGD(weighting.parameters(), lr=4e-3)
    for _ in range(1500):
        x = torch.ones(2, requires_grad=True)
        optimizer.zero_grad()
        backward(weighting, torch.stack([x[0], 3 * x[1], 0 * x.sum()]), {"x": x})
        optimizer.step()
    found = weighting.current()
    assert found["a"] / found["b"] == pytest.approx(3, rel=0.02)  # equal pulls
    assert found["a"] + found["b"] == pytest.approx(2, abs=0.3)
    assert sum(found.values()) == pytest.approx(3)


def test_gradnorm_without_any_label_learns_nothing() -> None:
    weighting = made("gradnorm", 2, x_views)
    x = torch.ones(2, requires_grad=True)
    backward(weighting, 0 * x, {"x": x})
    (theta_T,) = weighting.parameters()
    assert theta_T.grad is not None
    assert theta_T.grad.tolist() == [0.0, 0.0]


ESMM = """
homespec: 1
name: esmm
family: shared_bottom
features: {user_id: {id: {buckets: 50}, dim: 4}}
tasks:
  ctr: {label: click}
  cvr: {label: buy, weight: 0}
  ctcvr: {label: buy, product: [ctr, cvr]}
experts: {hidden: [], width: 8}
"""


@pytest.mark.parametrize("method", METHODS)
def test_esmm_trains_by_every_method(method: str) -> None:
    """The factor of weight 0 has no gradient of its own; all weights get one by the product."""
    code = homespec.build_module(homespec.loads(ESMM))
    torch.manual_seed(0)
    model = code.Model()
    click = torch.randint(0, 2, (64,)).float()
    labels = {"click": click, "buy": click * torch.randint(0, 2, (64,))}
    labels |= {name: labels[column] for name, column in code.LABELS.items()}
    kinds = dict.fromkeys(code.TASKS, "binary")
    weighting = weighting_of(method, code.WEIGHTS, kinds, partial(code.logical_views, model))
    logits = model({"user_id": torch.arange(64)})
    backward(weighting, code.stacked_losses(logits, labels), dict(model.named_parameters()))
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 1e-4, name


class Two(nn.Module):
    """Two regressions on one shared Linear, of labels 1 and 20 times as large."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shared, self.heads = nn.Linear(6, 8, bias=False), nn.Linear(8, 2, bias=False)

    def losses(self) -> Tensor:
        x_BN = torch.randn(256, 6)
        y_BT = torch.stack([x_BN[:, 0], 20 * x_BN[:, 1]], 1)
        return (self.heads(self.shared(x_BN)) - y_BT).square().mean(0)


def two_views(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.replace("shared.", "experts.task.shared.0.linears.0."): t for n, t in tensors.items()}


def test_gradnorm_brings_the_pull_of_tasks_into_balance() -> None:
    """With alpha 0 all pulls are to be equal; unweighted, one is 15 times the other."""
    model = Two()
    weighting = made("gradnorm", 2, two_views, alpha=0.0)
    optimizer = torch.optim.Adam(weighting.groups())  # the model stays as it is
    leaves = dict(model.named_parameters())

    def pulls() -> list[float]:
        torch.manual_seed(1)
        losses_T = model.losses()
        norms = [
            torch.autograd.grad(x, model.shared.weight, retain_graph=True)[0].norm()
            for x in losses_T
        ]
        return [float(w * n) for w, n in zip(weighting.current().values(), norms, strict=True)]

    before = pulls()
    assert before[1] > 10 * before[0]
    for _ in range(600):
        optimizer.zero_grad()
        backward(weighting, model.losses(), leaves)
        optimizer.step()
    after = pulls()
    assert after[1] == pytest.approx(after[0], rel=0.3)
    assert sum(weighting.current().values()) == pytest.approx(2)


def test_gradnorm_favours_what_trains_slower() -> None:
    """Equal pulls at first; then the loss of task 0 has halved and that of task 1 has not."""
    x = torch.zeros(2, requires_grad=True)
    weighting = made("gradnorm", 2, x_views)
    for scale in (1.0, 0.5):
        weighting.zero_grad()
        losses_T = torch.stack([x[0] + scale, x[1] + 1.0])
        backward(weighting, losses_T, {"x": x})
    theta_T = next(weighting.parameters())
    assert theta_T.grad is not None
    assert theta_T.grad[0] > 0 > theta_T.grad[1]  # descent lowers the weight of task 0


def test_gradnorm_reads_the_last_weights_that_all_share(small: LoadedSpec) -> None:
    for spec, prefix, count in (
        (small, "experts.task.shared.", 1),
        (homespec.load("specs/families/ml_mmoe.yaml"), "experts.task.shared.", 8),
        (homespec.load("specs/nested.yaml"), "experts.task.shared.", None),
    ):
        code, model = homespec.build_module(spec), homespec.build(spec)
        names = {
            part
            for _, part in last_shared(
                dict(model.named_parameters()), partial(code.logical_views, model)
            )
        }
        last = max(
            int(n.split(".")[-2])
            for n in code.logical_state(model)
            if n.startswith(prefix) and "linears" in n
        )
        assert all(n.startswith(prefix) and n.endswith(f"linears.{last}.weight") for n in names)
        assert count is None or len(names) == count


def test_gradnorm_without_shared_experts_says_so() -> None:
    with pytest.raises(ValueError, match="the root owns none"):
        combined("gradnorm", [[1.0, 2.0]])


def test_one_task_is_plain_training() -> None:
    for method in ("fixed", "pcgrad", "cagrad"):
        assert combined(method, [[1.0, -2.0]]).tolist() == [1.0, -2.0], method
    found = combined("gradnorm", [[1.0, -2.0]], views=x_views)
    assert found.tolist() == [1.0, -2.0]


def test_fixed_uses_the_weights_of_the_spec() -> None:
    losses_T = torch.tensor([2.0, 3.0], requires_grad=True)
    weighting = weighting_of("fixed", {"a": 1.0, "b": 0.5}, {}, no_views)
    assert backward(weighting, losses_T, {}) == 3.5
    assert weighting.current() == {"a": 1.0, "b": 0.5}
    assert losses_T.grad is not None
    assert losses_T.grad.tolist() == [1.0, 0.5]


@pytest.mark.parametrize("method", SURGERY)
def test_a_missing_torchjd_is_told_with_its_extra(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def blocked(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("torchjd"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(RunError, match=f"--weighting {method} needs torchjd") as caught:
        made(method, 2)
    assert install_command("balance") in str(caught.value)


def test_several_passes_need_nothing_else_imported() -> None:
    """In training Lightning has imported the configuration; in a loop of one's own nothing has."""
    script = (
        "from homespec.train.weighting import weighting_of\n"
        "with weighting_of('gradnorm', {'a': 1.0}, {'a': 'binary'}, dict).several_passes(): pass"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="mgda is none of fixed"):
        made("mgda", 2)


# ---------------------------------------------------------------- on a HoME


class Bench:
    """A small HoME with a batch that it can learn by heart."""

    def __init__(
        self, small: LoadedSpec, method: str, sparse: bool = False, dtype: Any = None
    ) -> None:
        torch.manual_seed(0)
        self.code, self.model = homespec.build_module(small), homespec.build(small, dtype=dtype)
        self.features = {name: torch.randint(0, 20, (64,)) for name in self.code.FEATURES}
        self.features["duration_ms"] = torch.rand(64) * 90000
        self.labels = {
            t: torch.randint(0, 2, (64,)).to(dtype or torch.float32) for t in self.code.TASKS
        }
        kinds = dict.fromkeys(self.code.TASKS, "binary")
        self.views = partial(self.code.logical_views, self.model)
        self.weighting = weighting_of(method, self.code.WEIGHTS, kinds, self.views)
        self.tables = SparseTables(self.model) if sparse else None
        self.step = self.losses

    def losses(self, features: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
        return torch.stack(list(self.code.losses(self.model(features), labels).values()))

    def backward(self) -> Tensor:
        leaves = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        rows: dict[str, Tensor] = {}
        if self.tables:
            self.tables.fit(self.features)
            leaves |= self.tables.leaves
            rows = self.tables.rows
        with self.weighting.several_passes():
            losses_T = self.step(self.features, self.labels)
        backward(self.weighting, losses_T, leaves, rows)
        if self.tables:
            self.tables.set_aside()
            self.tables.collect()
        return losses_T.detach()

    def grads(self) -> dict[str, Tensor]:
        self.backward()
        found = {n: p.grad for n, p in self.model.named_parameters()}
        return {n: g.to_dense() if g.is_sparse else g for n, g in found.items() if g is not None}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(small: LoadedSpec, method: str) -> None:
    bench = Bench(small, method)
    also = bench.weighting.groups()
    optimizer = optimizer_of("adam", [*decayed(bench.model, bench.views, 0.0), *also], 3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(bench.backward())
        optimizer.step()
    first, last = torch.stack(losses)[[0, -1]]
    assert (last < 0.75 * first).all(), (first, last)
    assert all(math.isfinite(w) and w > 0 for w in bench.weighting.current().values())


@pytest.mark.parametrize("method", METHODS)
def test_sparse_tables_change_no_gradient(small: LoadedSpec, method: str) -> None:
    found = []
    for sparse in (False, True):
        bench = Bench(small, method, sparse, torch.float64)
        torch.manual_seed(0)  # PCGrad's order
        found.append(bench.grads())
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("method", METHODS)
def test_the_state_brings_back_the_weights(small: LoadedSpec, method: str) -> None:
    bench = Bench(small, method)
    bench.backward()
    state = {name: value.clone() for name, value in bench.weighting.state_dict().items()}
    other = Bench(small, method).weighting
    other.load_state_dict(state)
    assert other.current() == bench.weighting.current()


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
def test_several_passes_go_through_one_compiled_graph(small: LoadedSpec) -> None:
    benches = [Bench(small, "pcgrad", sparse=True) for _ in range(2)]
    benches[1].step = runtime.compiled(benches[1].losses, dynamic=False)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for seed in range(3):
        found = []
        for bench in benches:
            torch.manual_seed(seed)
            bench.model.zero_grad()
            found.append(bench.grads())
        torch.testing.assert_close(found[1], found[0], rtol=2e-3, atol=2e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 1
