"""The recurrence of DIEN, one operator to torch.compile: its gradients, its graph, its types."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hierarchies import random_features
from parity import LAYOUTS, load
from test_sequences import spec_of
from torch import Tensor, nn

import homespec
from homespec import runtime
from homespec.train.torch_compile import obstacle

torch.set_num_threads(1)

ROWS, LENGTH, WIDTH = 3, 5, 2
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def made(layout: str = "optimised", length: int = LENGTH, **options: Any) -> ModuleType:
    """The module of a spec with DIEN."""
    spec = load(spec_of("dien", length))
    return homespec.build_module(spec, optimize=LAYOUTS[layout], **options)


def values(kind: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """What the steps read, the weight, and moves, some of which are 0."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((ROWS, LENGTH, 3 * WIDTH), (3 * WIDTH, WIDTH), (ROWS, LENGTH))
    read, weight, moves = (torch.randn(s, generator=generator, dtype=kind) for s in shapes)
    moves = moves.sigmoid() * (torch.rand((ROWS, LENGTH), generator=generator) < 0.7)
    return tuple(t.requires_grad_() for t in (read, weight, moves.detach()))


def by_autograd(read: Tensor, weight: Tensor, moves: Tensor) -> Tensor:
    """The same step by step, as docs/sequences.md has it; torch finds the gradients."""
    state, states = torch.zeros(ROWS, WIDTH, dtype=read.dtype), []
    for t in range(LENGTH):
        of_read, of_state = read[:, t].chunk(3, 1), (state @ weight.T).chunk(3, 1)
        u, r = (torch.sigmoid(of_read[i] + of_state[i]) for i in (0, 1))
        u = moves[:, t : t + 1] * u
        state = (1 - u) * state + u * torch.tanh(of_read[2] + r * of_state[2])
        states.append(state)
    return torch.stack(states)


def test_values_and_gradients_are_those_of_autograd() -> None:
    made()
    weights = torch.randn(LENGTH, ROWS, WIDTH, dtype=torch.float64)
    found = []
    for run in (lambda *given: torch.ops.homespec.run_gru_1(*given)[0], by_autograd):
        given = values()
        states = run(*given)
        (states * weights).sum().backward()
        found.append([states, *(tensor.grad for tensor in given)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)


def test_gradcheck() -> None:
    made()
    assert torch.autograd.gradcheck(lambda *t: torch.ops.homespec.run_gru_1(*t)[0], values())


def test_torch_finds_nothing_wrong_with_the_operators() -> None:
    """Schemas, shapes of the fakes, registration of autograd, symbolic shapes."""
    made()
    given = values()
    torch.library.opcheck(torch.ops.homespec.run_gru_1, given)
    states, steps = torch.ops.homespec.run_gru_1(*(tensor.detach() for tensor in given))
    others = (torch.randn_like(states), states, steps, given[1].detach(), given[2].detach())
    torch.library.opcheck(torch.ops.homespec.rewind_gru_1, others)


def test_a_move_of_zero_keeps_the_state_to_the_bit() -> None:
    made()
    read, weight, moves = (tensor.detach() for tensor in values())
    moves[:, 2] = 0
    states = torch.ops.homespec.run_gru_1(read, weight, moves)[0]
    assert torch.equal(states[2], states[1])
    assert not torch.equal(states[3], states[2])


@layouts
def test_the_graph_does_not_grow_with_the_events(layout: str) -> None:
    sizes = []
    for length in (4, 60):
        spec = spec_of("dien", length)
        model = homespec.build(load(spec), optimize=LAYOUTS[layout], dtype=torch.float64)
        seen: list[int] = []

        def count(graph: torch.fx.GraphModule, _: Any, seen: list[int] = seen) -> Any:
            seen.append(len(graph.graph.nodes))
            return graph.forward

        torch._dynamo.reset()
        compiled = torch.compile(model.features.forward, backend=count, fullgraph=True)
        compiled(random_features(spec, 4, torch.Generator().manual_seed(0)))
        sizes += seen
    assert len(sizes) == 2
    assert sizes[0] == sizes[1]


def test_files_of_one_process_share_the_operators(tmp_path: Path) -> None:
    """A second file, and the first one again, leave the operator of a model in use alone."""
    model = homespec.build(load(spec_of("dien")))
    operator = torch.ops.homespec.run_gru_1.default
    path = tmp_path / "again.py"
    path.write_text(homespec.compile(load(spec_of("dien", 4))))
    for _ in range(2):
        spec = importlib.util.spec_from_file_location("again", path)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert torch.ops.homespec.run_gru_1.default is operator
    features = random_features(spec_of("dien"), 4, torch.Generator().manual_seed(0))
    assert all(logit.isfinite().all() for logit in model(features).values())


@layouts
def test_files_for_inference_need_no_operator(layout: str) -> None:
    text = homespec.compile(load(spec_of("dien")), optimize=LAYOUTS[layout], mode="inference")
    assert "torch.ops" not in text
    assert "torch.library" not in text
    assert "rewind" not in text


def test_autocast_leaves_the_recurrence_exact() -> None:
    """Under bf16 what its steps read is rounded; states and gradients are float32."""
    model = homespec.build(load(spec_of("dien"))).features
    features = random_features(spec_of("dien"), 16, torch.Generator().manual_seed(0))
    expected = model(features)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(features)
    found.square().sum().backward()
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    assert all(p.grad.dtype == torch.float32 for p in parameters(model))
    assert all(p.grad.isfinite().all() for p in parameters(model))


def test_a_model_of_bf16() -> None:
    spec = load(spec_of("dien"))
    model = homespec.build(spec, dtype=torch.bfloat16).features
    model(random_features(spec_of("dien"), 16, torch.Generator().manual_seed(0))).sum().backward()
    assert {p.grad.dtype for p in parameters(model)} == {torch.bfloat16}


def parameters(model: nn.Module) -> list[nn.Parameter]:
    """Those that the sequence uses."""
    return [p for n, p in model.named_parameters() if "encoder" in n]


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
def test_inductor_agrees_with_eager() -> None:
    """Forward and backward, 50 events."""
    torch._dynamo.reset()
    spec = spec_of("dien", 50)
    both = [homespec.build(load(spec), dtype=torch.float64).features for _ in range(2)]
    both[1].load_state_dict(both[0].state_dict())
    features = random_features(spec, 8, torch.Generator().manual_seed(0))
    compiled = runtime.compiled(both[1].forward, dynamic=False)
    found = [forward(features) for forward in (both[0], compiled)]
    for v in found:
        v.square().sum().backward()
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-10)
    for (name, ours), theirs in zip(both[1].named_parameters(), both[0].parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-9, msg=name)
