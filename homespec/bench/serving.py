"""Benchmark: a forward pass as a service runs it.

`naive` is the plain model of training in eval mode; `ours` is the file for inference
(`compile --mode inference`), into which batch norm is folded, `ours-pruned` that with some tasks
alone (`--tasks`). All hold the same weights.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

import homespec
from homespec.api import LoadedSpec
from homespec.bench.candidates import SEED
from homespec.bench.random_batch import random_features
from homespec.bench.step import Tensors, compiled
from homespec.bench.variants import GRAPHS, VARIANTS

Serve = Callable[[], Tensor]
"""Logits of the batch, [T, B], of all tasks or of those that are kept."""

TOLERANCE = {"float32": 1e-4, "bf16": 1e-1}
"""Greatest difference of a logit between variants, in units of the greatest logit."""


def served(weights: Tensors) -> Tensors:
    """Weights whose running statistics are those of some data, so that folding has work to do."""
    torch.manual_seed(SEED)
    found = dict(weights)
    for name, tensor in weights.items():
        if name.endswith(".running_mean"):
            found[name] = torch.randn_like(tensor)
        elif name.endswith(".running_var"):
            found[name] = 0.5 + torch.rand_like(tensor)
    return found


def server(
    spec: LoadedSpec,
    name: str,
    weights: Tensors,
    rows: int,
    device: str,
    precision: str,
    keep: Sequence[str] = (),
) -> Serve:
    """A variant's forward pass on a batch that is the same for all variants.

    Pruned ones keep the tasks `keep`.
    """
    variant = VARIANTS[name]
    mode: Literal["training", "inference"] = "inference" if variant.optimize else "training"
    options: dict[str, Any] = {
        "optimize": variant.optimize,
        "mode": mode,
        "target": variant.target,
        "tasks": keep if variant.pruned else None,
    }
    code, model = homespec.build_with_module(spec, device=device, **options)
    code.load_logical_state(model, weights)
    model.eval()
    torch.manual_seed(SEED)
    features = random_features(spec, rows, device)

    def logits_of(features: Any) -> Tensor:
        logits_TB: Tensor = model(features, stacked=True)
        return logits_TB.float()

    run = compiled(logits_of, variant.mode) if variant.mode else logits_of

    def serve() -> Tensor:
        if variant.mode in GRAPHS:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        bf16 = precision == "bf16"
        cast = torch.autocast(device, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with torch.no_grad(), cast:
            return run(features)

    return serve


def apart(found: Tensor, expected: Tensor) -> float:
    """The greatest difference of logits, in units of the greatest one."""
    return float((found - expected).abs().max() / expected.abs().max())
