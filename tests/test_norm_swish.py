"""Batch norm and Swish of the optimised form: a backward pass of its own, equal to torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import homespec

SPEC = """
homespec: 1
name: small
features: {x: {dense: 4}}
groups: {a: [t, u]}
tasks: {t: {}, u: {}}
"""
EXPERTS, WIDTH, ROWS, EPS, MOMENTUM = 3, 5, 8, 1e-3, 0.1


@pytest.fixture(scope="module")
def code() -> Any:
    return homespec.build_module(homespec.loads(SPEC))


def ours(code: Any, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    norm: nn.Module = code.BatchNormSwish([f"e{i}" for i in range(EXPERTS)], WIDTH, EPS, MOMENTUM)
    with torch.no_grad():
        for tensor in (*norm.parameters(), *norm.buffers()):
            tensor.uniform_(0.5, 2)
    return norm.to(dtype)


def theirs(norm: nn.Module, expert: int) -> nn.BatchNorm1d:
    """torch's batch norm of one expert with the same weights and statistics."""
    state = {name: t[expert] for name, t in norm.state_dict().items()}
    other = nn.BatchNorm1d(WIDTH, EPS, MOMENTUM, dtype=torch.float64)
    other.load_state_dict(state, strict=False)
    return other


@pytest.mark.parametrize("training", [True, False])
def test_it_is_batch_norm_and_swish_of_each_expert(code: Any, training: bool) -> None:
    """Outputs, gradients and running statistics; the batch is the last axis of ours."""
    norm = ours(code).train(training)
    others = [theirs(norm, expert).train(training) for expert in range(EXPERTS)]
    u_MBD = torch.randn(EXPERTS, ROWS, WIDTH, dtype=torch.float64).mul_(3).add_(2)
    grad_MBD = torch.randn_like(u_MBD)
    mine, plain = u_MBD.clone().requires_grad_(), u_MBD.clone().requires_grad_()
    found = norm(mine.mT)
    expected = torch.stack([F.silu(o(u)) for o, u in zip(others, plain, strict=True)])
    torch.testing.assert_close(found, expected.mT)
    found.backward(grad_MBD.mT)
    expected.backward(grad_MBD)
    torch.testing.assert_close(mine.grad, plain.grad)
    for name, tensor in norm.named_parameters():
        grads = torch.stack([o.get_parameter(name).grad for o in others])  # type: ignore[misc]
        torch.testing.assert_close(tensor.grad, grads)
    for name, tensor in norm.named_buffers():
        own = name
        torch.testing.assert_close(tensor, torch.stack([o.get_buffer(own) for o in others]))


def test_nothing_but_what_it_reads_is_kept(code: Any) -> None:
    """Beside u, only vectors over the channels: no normalised values, no sigmoids."""
    norm, kept = ours(code), []
    u_MDB = torch.randn(EXPERTS, WIDTH, ROWS, dtype=torch.float64, requires_grad=True)

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        norm(u_MDB)
    large = [tensor for tensor in kept if tensor.numel() == u_MDB.numel()]
    assert [tensor.data_ptr() for tensor in large] == [u_MDB.data_ptr()]


def test_bf16_keeps_its_type_and_float32_statistics(code: Any) -> None:
    norm = ours(code, torch.float32)
    u_MDB = torch.randn(EXPERTS, WIDTH, ROWS).bfloat16().requires_grad_()
    found = norm(u_MDB)
    found.sum().backward()
    assert found.dtype == torch.bfloat16
    assert u_MDB.grad is not None
    assert u_MDB.grad.dtype == torch.bfloat16
    assert norm.get_buffer("running_var").dtype == torch.float32
    exact = ours(code)(u_MDB.detach().double())
    torch.testing.assert_close(found.double(), exact, rtol=0.02, atol=0.02)


def test_second_derivatives_are_refused_not_wrong(code: Any) -> None:
    u_MDB = torch.randn(EXPERTS, WIDTH, ROWS, dtype=torch.float64, requires_grad=True)
    loss = ours(code)(u_MDB).square().sum()
    with pytest.raises(RuntimeError, match="no second derivative: compile with --no-optimize"):
        torch.autograd.grad(loss, u_MDB, create_graph=True)


def test_frozen_statistics_are_constants(code: Any) -> None:
    """In eval mode u is normalised by no statistic of its own."""
    u_MDB = torch.randn(EXPERTS, WIDTH, ROWS, dtype=torch.float64, requires_grad=True)
    norm = ours(code)
    norm.eval()
    torch.autograd.gradcheck(norm, (u_MDB,))


def test_training_leaves_what_eval_kept(code: Any) -> None:
    u_MDB = torch.randn(EXPERTS, WIDTH, ROWS, dtype=torch.float64, requires_grad=True)
    norm = ours(code).eval()
    found = norm(u_MDB).sum()
    norm.train()(torch.randn_like(u_MDB))
    found.backward()
    assert u_MDB.grad is not None
