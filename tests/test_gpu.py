"""What only a GPU can show; skipped elsewhere. `python benchmarks/gpu.py` runs it first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hierarchies import random_features, random_labels, random_spec, randomise
from parity import assert_close, build, load, observe
from scaling import scaled
from torch import Tensor

import homespec
from homespec.api import LoadedSpec
from homespec.bench import counting
from homespec.bench.candidates import build as candidate
from homespec.bench.candidates import check_equal, first_step, weights_of
from homespec.bench.variants import VARIANTS

DEVICE = "cuda"
ROOT = Path(__file__).resolve().parent.parent
SPECS = ("specs/quickstart.yaml", "specs/nested.yaml", "specs/kuairand.yaml")
COMPILED = [n for n, v in VARIANTS.items() if v.compiled and v.optimize and not v.pruned]
ROWS = 512

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: benchmarks/gpu.py"),
    pytest.mark.compiles,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's own, in importing inductor
]


@pytest.fixture(autouse=True)
def fresh_dynamo() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize("seed", range(4))
def test_a_gpu_computes_what_a_cpu_does(seed: int) -> None:
    """Eager, in float64: outputs, losses, gradients and running statistics."""
    spec = random_spec(seed)
    generator = torch.Generator().manual_seed(seed)
    batch = random_features(spec, ROWS, generator), random_labels(spec, ROWS, generator)
    weights: dict[str, Tensor] = {}
    seen = []
    for device in ("cpu", DEVICE):
        model, code = build(load(spec), "optimised")
        weights = weights or randomise(code.logical_state(model), generator)
        code.load_logical_state(model.to(device), weights)
        shown = SimpleNamespace(**vars(code), v=model.features)
        moved = [{name: tensor.to(device) for name, tensor in each.items()} for each in batch]
        seen.append(observe(model, shown, *moved))
    for what, expected in seen[0].items():
        assert_close(what, {name: t.cpu() for name, t in seen[1][what].items()}, expected)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("path", SPECS)
def test_first_gradients_are_those_of_plain_code(path: str, name: str, precision: str) -> None:
    """Under torch.compile, in CUDA graphs, with Triton's kernels; no graph is skipped."""
    spec = homespec.load(ROOT / path)
    weights = weights_of(spec)
    expected = first_step(candidate(spec, "naive", weights, ROWS, DEVICE, "float32"))
    skipped = counting.skipped_graphs()
    step = first_step(candidate(spec, name, weights, ROWS, DEVICE, precision))
    check_equal(name, step, expected, precision)
    assert counting.skipped_graphs() == skipped


@pytest.mark.parametrize("name", COMPILED)
def test_a_step_neither_waits_nor_compiles_again(name: str) -> None:
    spec = small(8)
    step = candidate(spec, name, weights_of(spec), ROWS, DEVICE, "bf16").step
    warm(step)
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert not counting.synchronises(step)


def test_kernels_hardly_grow_with_tasks() -> None:
    """Each label is a column of its own: what stacks them may have some kernels more."""
    kernels = {}
    for tasks in (4, 64):
        torch._dynamo.reset()
        spec = small(tasks)
        one = candidate(spec, "ours-compiled", weights_of(spec), ROWS, DEVICE, "float32")
        warm(one.step)
        kernels[tasks] = counting.cuda_kernels(one.backward)
    assert kernels[64] <= 1.2 * kernels[4], kernels
    assert kernels[64] <= 300, kernels


def small(tasks: int) -> LoadedSpec:
    return scaled(homespec.load(ROOT / "benchmarks/specs/small.yaml"), tasks)


def warm(step: Callable[[], None]) -> None:
    """As often as CUDA graphs need until they replay."""
    for _ in range(4):
        step()
    torch.cuda.synchronize()
