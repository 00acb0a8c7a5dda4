"""The Triton kernels of feature gates on a CPU, in Triton's interpreter, against plain PyTorch.

Run by tests/test_gate_kernel.py in a process of its own: Triton must know when it is imported.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import triton.language as tl
from hierarchies import random_features, random_labels
from parity import gradients, load
from torch import Tensor, nn
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

import homespec
from homespec import runtime

assert os.environ["TRITON_INTERPRET"] == "1"
torch.set_num_threads(1)

SPEC = {
    "homespec": 1,
    "name": "kernel",
    "features": {"item": {"id": {"vocab": 20}, "dim": 5}, "x": {"dense": 6}},
    "groups": {"a": ["a1", "a2"], "b": ["b1", "b2"]},
    "tasks": {"a1": {}, "a2": {}, "b1": {}, "b2": {}},
    "experts": {"width": 4, "all": {"shared": 1, "group": 1, "task": 1}},
    "gates": {"feature": {"loras": 2, "rank": 3}},
}
"""Layer 1 gates one v for three sets, layer 2 a state for each of seven."""


@pytest.fixture(autouse=True)
def products_of_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy has no bfloat16: the interpreter would multiply the bits as whole numbers."""
    multiply = InterpreterBuilder.create_dot

    def exact(handle: Any) -> Any:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def dot(self: Any, a: Any, b: Any, *others: Any) -> Any:
        return multiply(self, exact(a), exact(b), *others)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", dot)


def code(feature: dict[str, Any] | None = None, **options: Any) -> ModuleType:
    """The file for CUDA of the spec, or of one with other feature gates."""
    gates = {"feature": SPEC["gates"]["feature"] | (feature or {})}
    return homespec.build_module(load(SPEC | {"gates": gates}), target="cuda", **options)


def case(
    sets: int,
    rows: int,
    width: int,
    loras: int,
    rank: int,
    shared: bool,
    dtype: torch.dtype,
    mix: str = "after_sigmoid",
) -> tuple[nn.Module, list[Tensor]]:
    """Gates with random weights; x, low ranks as projections leave them, router's logits."""
    torch.manual_seed(rows + width)
    made = code({"loras": loras, "mix": mix})
    names = [f"gate.{i}" for i in range(sets * loras)]
    kind = "SingleFeatureGates" if loras == 1 else "FeatureGates"
    kind += "OfLogits" if mix == "before_sigmoid" else ""
    gates = getattr(made, f"Fused{kind}")(names, width, rank).to(dtype)
    nn.init.normal_(gates.weight)
    x = torch.randn(1 if shared else sets, width, rows)
    columns = torch.randn(sets, loras * (rank + 1), rows)
    low, router = columns.split([loras * rank, loras], dim=1)
    low = low.unflatten(1, (loras, rank)).flatten(0, 1)
    tensors = [x, low, router] if loras > 1 else [x, low]
    return gates, [t.to(dtype).detach().requires_grad_() for t in tensors]


def both(gates: nn.Module, tensors: list[Tensor]) -> list[list[Tensor]]:
    """Outputs and gradients by all inputs and weights: of the kernels, and of the parent."""
    found = []
    for forward in (gates.forward, super(type(gates), gates).forward):
        for tensor in (*tensors, gates.weight):
            tensor.grad = None
        out = forward(*tensors)
        weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape).flip(1)
        (out * weights).sum().backward()
        grads = [t.grad.clone() for t in (*tensors, gates.weight) if t.grad is not None]
        found.append([out.detach(), *grads])
    return found


def some_features() -> dict[str, Tensor]:
    found = random_features(SPEC, 9, torch.Generator().manual_seed(0))
    return {n: t.float() if t.is_floating_point() else t for n, t in found.items()}


SHAPES = [
    (1, 5, 33, 1, 3, False),
    (3, 5, 33, 2, 3, True),
    (2, 150, 40, 3, 5, False),
    (3, 40, 70, 2, 16, True),
    (2, 33, 64, 4, 20, True),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_and_gradients_are_those_of_plain_code(shape: tuple[Any, ...]) -> None:
    for ours, plain in zip(*both(*case(*shape, torch.float32)), strict=True):
        torch.testing.assert_close(ours, plain, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_coarse_types(dtype: torch.dtype) -> None:
    """Sums are made in float32, so that the kernels are no coarser than plain code."""
    shape = (3, 40, 33, 2, 8, True)
    exact = both(*case(*shape, torch.float32))[1]
    ours, plain = both(*case(*shape, dtype))
    for one, other, right in zip(ours, plain, exact, strict=True):
        assert one.dtype == other.dtype == dtype
        error, allowed = ((t.float() - right).norm() / right.norm() for t in (one, other))
        assert error < 1.2 * allowed + 1e-3


def test_autocast_has_the_types_of_a_product() -> None:
    gates, tensors = case(3, 9, 33, 2, 8, True, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        low = tensors[1].to(torch.bfloat16)
        out, plain = gates(tensors[0], low, tensors[2]), gates.float()
        expected = super(type(gates), plain).forward(tensors[0], low, tensors[2])
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected.float(), rtol=1e-2, atol=1e-2)
    out.sum().backward()
    assert gates.weight.grad.dtype == tensors[0].grad.dtype == torch.float32


def test_mixture_before_the_sigmoid() -> None:
    gates, tensors = case(2, 9, 33, 3, 5, True, torch.float32, "before_sigmoid")
    for ours, plain in zip(*both(gates, tensors), strict=True):
        torch.testing.assert_close(ours, plain, rtol=2e-5, atol=2e-5)


def test_no_gradient_by_an_x_that_needs_none() -> None:
    gates, tensors = case(2, 5, 33, 2, 3, True, torch.float32)
    tensors[0].requires_grad_(False)
    for ours, plain in zip(*both(gates, tensors), strict=True):
        torch.testing.assert_close(ours, plain, rtol=2e-5, atol=2e-5)


def test_an_empty_batch() -> None:
    gates, tensors = case(2, 0, 33, 2, 3, True, torch.float32)
    out, *grads = both(gates, tensors)[0]
    assert out.shape == (2, 33, 0)
    assert not grads[-1].any()


def test_float64_takes_the_plain_path() -> None:
    ours, plain = both(*case(2, 5, 33, 2, 3, True, torch.float64))
    assert all(torch.equal(one, other) for one, other in zip(ours, plain, strict=True))


def test_torch_finds_nothing_wrong_with_the_operators() -> None:
    """Schemas, shapes of the fakes, registration of autograd, symbolic shapes."""
    gates, (x, low, router) = case(2, 5, 17, 2, 3, True, torch.float32)
    low = low.unflatten(0, (2, -1)).flatten(1, 2).detach().requires_grad_()
    given = (x, low, router.softmax(1).detach().requires_grad_(), gates.weight)
    torch.library.opcheck(torch.ops.homespec.gate_features_2, given)
    bare = [t.detach() for t in given]
    for needs_x in (True, False):
        rewind = (torch.randn(2, 17, 5), *bare, needs_x)
        torch.library.opcheck(torch.ops.homespec.rewind_gates_2, rewind)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
@pytest.mark.parametrize("needs_x", [True, False])
def test_both_passes_compile_without_a_break(needs_x: bool) -> None:
    gates, tensors = case(3, 5, 33, 2, 3, True, torch.float32)
    tensors[0].requires_grad_(needs_x)
    eager = both(gates, tensors)[0]
    gates.forward = runtime.compiled(gates.forward, dynamic=True)
    for ours, plain in zip(both(gates, tensors)[0], eager, strict=True):
        torch.testing.assert_close(ours, plain, rtol=2e-5, atol=2e-5)


def test_whole_model_is_the_portable_one() -> None:
    """Outputs, and every gradient by logical name."""
    loaded = load(SPEC)
    features = some_features()
    labels = random_labels(SPEC, 9, torch.Generator().manual_seed(1))
    found, state = [], None
    for target in ("portable", "cuda"):
        module = homespec.build_module(loaded, target=target)
        model = module.Model()
        torch.manual_seed(0)
        if state is None:
            for parameter in model.parameters():
                nn.init.normal_(parameter, std=0.5)
            state = {n: t.clone() for n, t in module.logical_state(model).items()}
        module.load_logical_state(model, state)
        logits = model(features)
        module.loss(logits, labels).backward()
        found.append({**logits, **gradients(model, module)})
    for name, plain in found[0].items():
        torch.testing.assert_close(found[1][name], plain, rtol=1e-4, atol=1e-4)


def test_inference() -> None:
    loaded = load(SPEC)
    features = some_features()
    trained = homespec.build_module(loaded)
    model = trained.Model().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    serving = code(mode="inference")
    served = serving.Model()
    serving.load_logical_state(served, trained.logical_state(model))
    assert "rewind" not in homespec.compile(loaded, mode="inference", target="cuda")
    with torch.no_grad():
        logits, expected = served(features), model(features)
    for task, logit in logits.items():
        torch.testing.assert_close(logit, expected[task], rtol=1e-4, atol=1e-4)
