"""A model with a fault that was put there, and rows whose labels its own predictions draw.

The labels come from the model, so every change of what it predicts costs loss: a part that is free
to leave out is one that the model does not use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import homespec
from homespec.api import LoadedSpec, build_with_module
from homespec.data.batches import Batch
from homespec.diagnostics import Diagnostic
from homespec.doctor.examine import Options, examine
from homespec.health.check import check
from homespec.health.measures import Health
from homespec.train.load_run import Run

SPEC = """\
homespec: 1
name: planted
features:
  numbers: {dense: 8}
  place: {id: {vocab: 3}, dim: 2}
groups:
  watch: [click, finish]
  interaction: [like, follow]
tasks:
  click: {label: click}
  finish: {label: finish}
  like: {label: like}
  follow: {label: follow}
experts: {width: 8, hidden: [16], meta: {shared: 2, group: 2}, task: {shared: 2, group: 1, task: 1}}
gates: {feature: {loras: 2, rank: 2}, self: false}
towers: {hidden: [8]}
"""
ROWS = 4000
SCALES = {"towers": 3.0, "gates": 0.4, "feature_gates": 1.0}
"""How large weights are drawn, by part: gates that mix all that they see."""
State = dict[str, Tensor]
Plant = Callable[[State], None]


@dataclass
class InMemory:
    """Rows that are there."""

    batch: Batch
    size: int = 1000

    @property
    def rows(self) -> int:
        return len(next(iter(self.batch.labels.values())))

    def batches(self) -> Iterator[Batch]:
        for low in range(0, self.rows, self.size):
            part = slice(low, low + self.size)
            features, labels = (
                {name: values[part] for name, values in each.items()}
                for each in (self.batch.features, self.batch.labels)
            )
            yield Batch(features, labels)


def random_state(state: State, seed: int) -> State:
    """Weights that make every part of the model matter."""
    random = torch.Generator().manual_seed(seed)

    def drawn(name: str, tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=random)
        if name.endswith("running_var"):
            return torch.ones_like(tensor)
        if name.endswith(("running_mean", "bias")):
            return 0.1 * noise
        if name.endswith("norm.weight"):
            return 1 + 0.1 * noise
        scale = next((s for part, s in SCALES.items() if name.startswith(part)), 1.5)
        return scale * noise / tensor.shape[-1] ** 0.5 if tensor.dim() == 2 else noise

    return {name: drawn(name, tensor) for name, tensor in sorted(state.items())}


def planted(plant: Plant, *overrides: str, seed: int = 0, spec: str = SPEC) -> tuple[Run, InMemory]:
    """A run whose weights are random but for the plant, and rows for it."""
    loaded = homespec.loads(spec, overrides=overrides)
    code, model = build_with_module(loaded, optimize=False)
    model.eval()
    state = random_state(code.logical_state(model), seed)
    plant(state)
    code.load_logical_state(model, state)
    random = torch.Generator().manual_seed(seed)
    features = {
        "numbers": torch.randn(ROWS, 8, generator=random),
        "place": torch.ones(ROWS, dtype=torch.int64),
    }
    with torch.no_grad():
        logits = model(features)
    labels = {
        task: torch.bernoulli(logit.sigmoid(), generator=random) for task, logit in logits.items()
    }
    return Run(Path("runs/planted"), loaded, code, model, {}), InMemory(Batch(features, labels))


def diagnosed(
    plant: Plant, *overrides: str, options: Options | None = None, **more: Any
) -> tuple[list[Diagnostic], Health, LoadedSpec]:
    """The findings in a planted model."""
    run, rows = planted(plant, *overrides, **more)
    health = examine(run, rows, options or Options(sample_rows=ROWS))
    return check(run.spec.analysis, health), health, run.spec
