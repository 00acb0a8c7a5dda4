"""GradNorm, PCGrad and CAGrad on rows with weights = each written out on losses by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import homespec
from homespec.data.batches import Batch
from homespec.train.settings import Settings
from homespec.train.train_step import TrainStep

SPEC = """
homespec: 1
name: weighted
family: mmoe
features: {user: {id: {vocab: 9}, dim: 4}, age: {dense: 2}}
tasks:
  a: {sample_weight: w}
  b: {sample_weight: v, weight: 0.5, where: a, outside_weight: 0.3}
experts: {norm: none, width: 6, task: {shared: 2}}
"""
ROWS = 40
TASKS = {"a": 1.0, "b": 0.5}


def batch(seed: int) -> Batch:
    """Rows of weight 0 and labels that are not known among them."""
    draw = torch.Generator().manual_seed(seed)
    features = {
        "user": torch.randint(0, 9, (ROWS,), generator=draw),
        "age": torch.randn(ROWS, 2, generator=draw, dtype=torch.float64),
    }
    chance = torch.sigmoid(features["age"])
    labels = {t: (torch.rand(ROWS, generator=draw) < chance[:, i]).double() for i, t in
              enumerate(TASKS)}  # fmt: skip
    labels["b"] = 1 - labels["b"]  # the tasks do not agree
    labels["b"][::7] = math.nan
    weights = {
        t: torch.rand(ROWS, generator=draw, dtype=torch.float64)
        * torch.randint(0, 3, (ROWS,), generator=draw)
        for t in TASKS
    }
    return Batch(features, labels, weights=weights)


def made(method: str) -> TrainStep:
    code, model = homespec.build_with_module(homespec.loads(SPEC))
    torch.manual_seed(0)
    model = model.double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    kinds = dict.fromkeys(TASKS, "binary")
    return TrainStep(model, code, kinds, Settings(weighting=method), compiled=False)


def losses_by_hand(step: TrainStep, read: Batch) -> list[Tensor]:
    """Row by row: the sum of w l over the sum of w, where the label is known."""
    logits = step.model(read.features)
    found = []
    for task in TASKS:
        total, weight = torch.zeros((), dtype=torch.float64), 0.0
        for row in range(ROWS):
            y, w = float(read.labels[task][row]), float(read.weights[task][row])
            if task == "b":
                w *= 1.0 if read.labels["a"][row] == 1 else 0.3
            if math.isnan(y):
                continue
            p = torch.sigmoid(logits[task][row])
            total = total - w * (y * p.log() + (1 - y) * (1 - p).log())
            weight += w
        found.append(total / weight)
    return found


def each_gradient(step: TrainStep, losses: list[Tensor]) -> list[dict[str, Tensor]]:
    """Of each task by itself, times its weight in the spec."""
    parameters = dict(step.model.named_parameters())
    grads = []
    for weight, loss in zip(TASKS.values(), losses, strict=True):
        own = torch.autograd.grad(
            weight * loss, list(parameters.values()), retain_graph=True, materialize_grads=True
        )
        grads.append(dict(zip(parameters, own, strict=True)))
    return grads


def combined(grads: list[dict[str, Tensor]], rule: Any) -> dict[str, Tensor]:
    """What a rule makes of what both tasks read, as one vector; elsewhere the sum."""
    one, other = ({n: g.flatten() for n, g in each.items()} for each in grads)
    shared = {n: (one[n] != 0) & (other[n] != 0) for n in one}
    vectors = [torch.cat([each[n][shared[n]] for n in one]) for each in (one, other)]
    assert float(vectors[0] @ vectors[1]) < 0
    left, found = rule(*vectors), {}
    for name in one:
        count = int(shared[name].sum())
        own = one[name] + other[name]
        own[shared[name]], left = left[:count], left[count:]
        found[name] = own.view_as(grads[0][name])
    return found


def pcgrad(one: Tensor, other: Tensor) -> Tensor:
    """Each without its part along the other."""
    product = one @ other
    return one - product / (other @ other) * other + other - product / (one @ one) * one


def cagrad(one: Tensor, other: Tensor) -> Tensor:
    """The dual of the paper for two tasks, its weight found by trying: theorem 3.2, c = 0.5.

    Its g0 is the mean; here all is twice as long.
    """
    mean, c = (one + other) / 2, 0.5
    aa, bb, ab = float(one @ one), float(other @ other), float(one @ other)

    def dual(x: float) -> float:
        """Of the mixture x one + (1 - x) other."""
        length = math.sqrt(x * x * aa + 2 * x * (1 - x) * ab + (1 - x) ** 2 * bb)
        along = (x * (aa + ab) + (1 - x) * (bb + ab)) / 2
        return along + c * float(mean.norm()) * length

    best = min((i / 100_000 for i in range(100_001)), key=dual)
    toward = best * one + (1 - best) * other
    return 2 * (mean + c * mean.norm() / toward.norm() * toward)


def stepped(step: TrainStep, read: Batch) -> dict[str, Tensor]:
    losses_T = step.losses(read)
    step.backward(step.weighting.loss(losses_T), losses_T)
    return {n: p.grad for n, p in step.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("method", "rule"), [("pcgrad", pcgrad), ("cagrad", cagrad)])
def test_surgery_is_of_weighted_losses(method: str, rule: Any) -> None:
    pytest.importorskip("torchjd")
    if method == "cagrad":
        pytest.importorskip("cvxpy")
    read, step = batch(2), made(method)
    expected = combined(each_gradient(step, losses_by_hand(step, read)), rule)
    tolerance = 1e-6 if method == "pcgrad" else 1e-3  # of weights in float32, and of a solver
    torch.testing.assert_close(stepped(step, read), expected, rtol=tolerance, atol=tolerance)


def test_gradnorm_is_of_weighted_losses() -> None:
    """Two steps: the second has other losses, so that the rates at which tasks train matter."""
    step, theta_T = made("gradnorm"), torch.tensor(list(TASKS.values())).log()
    firsts: list[float] = []
    for number in (0, 1):
        read = batch(number)
        losses = losses_by_hand(step, read)
        firsts = firsts or [loss.item() for loss in losses]
        theta_T = theta_T.detach().requires_grad_()
        weights_T = sum(TASKS.values()) * theta_T.softmax(0)
        last = [n for n, _ in step.code.logical_views(step.model, _named(step)).items()
                if n.startswith("experts.task.shared.") and n.endswith("weight")]  # fmt: skip
        norms = []
        for loss in losses:
            grads = torch.autograd.grad(
                loss, list(_named(step).values()), retain_graph=True, materialize_grads=True
            )
            views = step.code.logical_views(step.model, dict(zip(_named(step), grads, strict=True)))
            deepest = max(int(n.split(".")[-2]) for n in last)
            own = [views[n] for n in last if int(n.split(".")[-2]) == deepest]
            norms.append(math.sqrt(sum(float(each.square().sum()) for each in own)))
        pulls_T = weights_T * torch.tensor(norms)
        ratio_T = torch.tensor([x.item() / y for x, y in zip(losses, firsts, strict=True)])
        target_T = pulls_T.mean() * (ratio_T / ratio_T.mean()) ** 1.5
        (pulls_T - target_T.detach()).abs().sum().backward()
        total = sum(w * x for w, x in zip(weights_T.tolist(), losses, strict=True))
        assert isinstance(total, Tensor)
        expected = dict(zip(_named(step), torch.autograd.grad(total, list(_named(step).values())),
                            strict=True))  # fmt: skip
        torch.testing.assert_close(stepped(step, read), expected, rtol=1e-6, atol=1e-8)
        (learned,) = step.weighting.parameters()
        torch.testing.assert_close(learned.grad, theta_T.grad, rtol=1e-5, atol=1e-6)
        step.optimizer.step()
        step.optimizer.zero_grad()
        theta_T = learned.detach().clone()


def _named(step: TrainStep) -> dict[str, Tensor]:
    return dict(step.model.named_parameters())
