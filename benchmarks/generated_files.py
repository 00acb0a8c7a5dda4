"""Two generated files of one spec side by side: are they the same model, and is one faster?

    python benchmarks/generated_files.py OLD.py NEW.py SPEC.yaml [--batch 512] [--bf16]
    python benchmarks/generated_files.py --only-equal OLD.py NEW.py SPEC.yaml

Both get the same weights by logical name. In float64 their losses, gradients and running statistics
must agree. Then training steps of both (forward, loss, backward, fused Adam) are measured in turns,
eager and compiled, in one process: the ratio says how many times as fast NEW is, the median of
rounds with quartiles. Files for inference are measured by their forward pass.
"""

from __future__ import annotations

import argparse
import copy
import gc
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

import homespec
from homespec.bench.allocator import keep_freed_memory
from homespec.bench.counting import operations
from homespec.bench.random_batch import even_boundaries, random_features, random_labels
from homespec.bench.timing import interleaved, ratios

SAFE = {"inplace_buffers": False}
"""Options of torch.compile, as generated files say."""


def loaded(path: Path, name: str) -> ModuleType:
    """A generated file as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # torch.compile looks for it there
    spec.loader.exec_module(module)
    return module


def views(code: ModuleType, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parts by logical name; files before 0.2 need no model for that."""
    try:
        return dict(code.logical_views(model, tensors))
    except TypeError:
        return dict(code.logical_views(tensors))


def weights(code: ModuleType, model: nn.Module) -> dict[str, Tensor]:
    """A state by logical name in which no tensor is zero or one."""
    torch.manual_seed(1)
    found = {}
    for name, value in code.logical_state(model).items():
        if name.endswith("running_var"):
            found[name] = torch.rand(value.shape) + 0.5
        elif name.endswith("boundaries"):
            found[name] = torch.arange(len(value), dtype=torch.float64)
        else:
            found[name] = torch.randn(value.shape) * (value.shape[-1] if value.dim() else 1) ** -0.5
    return found


def once(code: ModuleType, model: nn.Module, features: Any, labels: Any) -> dict[str, Tensor]:
    """Loss, logits, gradients and state after one step in float64, by name."""
    logits = model(features)
    found = {f"logits {task}": value for task, value in logits.items()}
    if hasattr(code, "loss"):
        loss = code.loss(logits, labels)
        loss.backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found |= {f"gradient {n}": g for n, g in views(code, model, grads).items()}
        found["loss"] = loss
    found |= {f"state {n}": v for n, v in code.logical_state(model).items()}
    return {name: value.detach().clone() for name, value in found.items()}


def check_equal(files: dict[str, ModuleType], spec: homespec.api.LoadedSpec, batch: int) -> None:
    """Raise AssertionError where the two models differ by more than rounding in float64."""
    features = random_features(spec, batch, "cpu")
    labels = {t: v.double() for t, v in random_labels(spec, batch, "cpu").items()}
    features = {n: v.double() if v.is_floating_point() else v for n, v in features.items()}
    first: dict[str, Tensor] | None = None
    state: dict[str, Tensor] = {}
    for code in files.values():
        model = code.Model().double()
        state = state or weights(code, model)
        code.load_logical_state(model, state)
        found = once(code, model, features, labels)
        if first is None:
            first = found
            continue
        assert first.keys() == found.keys(), first.keys() ^ found.keys()
        worst = max(
            float((found[n] - v).abs().max() / (v.abs().max() + 1e-30)) for n, v in first.items()
        )
        print(f"{len(found)} tensors agree to {worst:.1e} of their largest element")
        for name, value in first.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11, msg=name)


def stepper(
    code: ModuleType, model: nn.Module, features: Any, labels: Any, compiled: bool, bf16: bool
) -> Callable[[], object]:
    """A training step, or the forward pass of a file for inference."""
    trains = hasattr(code, "loss")

    def loss_of(features: Any, labels: Any) -> Tensor:
        logits = model(features, stacked=True)
        return code.loss(logits, labels) if trains else logits

    run = torch.compile(loss_of, options=SAFE, dynamic=False) if compiled else loss_of
    optimizer = torch.optim.Adam(model.parameters(), fused=True) if trains else None

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = run(features, labels)
        if optimizer:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    def forward() -> None:
        with torch.no_grad():
            step()

    return step if trains else forward


def main() -> None:
    """Compare two files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("old", "new", "spec"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--eager", action="store_true", help="measure eager code alone")
    parser.add_argument("--compiled", action="store_true", help="measure compiled code alone")
    parser.add_argument("--only-equal", action="store_true")
    asked = parser.parse_args()
    spec = homespec.load(asked.spec)
    files = {name: loaded(getattr(asked, name), f"{name}_file") for name in ("old", "new")}
    check_equal(files, spec, 64)
    if asked.only_equal:
        return
    keep_freed_memory()
    features = random_features(spec, asked.batch, "cpu")
    labels = random_labels(spec, asked.batch, "cpu")
    for compiled in [c for c in (False, True) if not (asked.eager if c else asked.compiled)]:
        steps = {}
        for name, code in files.items():
            torch.manual_seed(0)
            model = code.Model()
            if hasattr(code, "set_boundaries"):
                code.set_boundaries(model, even_boundaries(spec))
            steps[name] = stepper(code, model, features, labels, compiled, asked.bf16)
            steps[name]()
            if not compiled:
                print(f"{name}: {operations(copy.copy(steps[name]))} operations")
        gc.collect()
        times = interleaved(steps, asked.rounds, "cpu")
        ratio = ratios(times, "old")["new"]
        how = "compiled" if compiled else "eager"
        print(
            f"{spec.name}, batch {asked.batch}, {'bf16' if asked.bf16 else 'float32'}, {how}:"
            f" new is {ratio.median:.3f} times as fast [{ratio.low:.3f}, {ratio.high:.3f}]"
        )


if __name__ == "__main__":
    main()
