"""STEM as its paper defines it (Su et al. 2024): naive, float64, without homespec.

Every feature has a shared table and one for each task. The shared experts read the shared
embeddings and a task's experts those of the task. Its gate reads both and mixes all experts (all
forward); those of other tasks get no gradient through it (task-specific backward).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from families import Case, Gate, Level, Model
from torch import Tensor, nn


@dataclass
class StemCase(Case):
    """Sizes of a model; `vocabularies` and `widths` by feature."""

    vocabularies: dict[str, int]
    widths: dict[str, int]


def draw(rng: random.Random) -> StemCase:
    tasks = rng.sample(["click", "like", "follow", "share", "stay"], rng.randint(2, 4))
    names = ["user", "item", "genre"][: rng.randint(1, 3)]
    levels = [
        Level(rng.randint(1, 3), 0, rng.randint(1, 3), [4] * rng.randint(0, 1), rng.randint(3, 6))
        for _ in range(rng.randint(1, 3))
    ]
    widths = {name: rng.randint(2, 4) for name in names}
    vocabularies = {name: rng.randint(2, 6) for name in names}
    tower = [rng.randint(3, 5) for _ in range(rng.randint(0, 2))]
    inputs = sum(widths.values())
    return StemCase("stem", inputs, {}, tasks, levels, tower, vocabularies, widths)


def spec_of(case: StemCase) -> dict[str, Any]:
    layers = [level.experts(True, False) for level in case.levels]
    features = {
        name: {"id": {"vocab": size}, "dim": case.widths[name], "at": ["shared", "tasks"]}
        for name, size in case.vocabularies.items()
    }
    experts: dict[str, Any] = {"task": layers[-1]} | ({"meta": layers[:-1]} if layers[:-1] else {})
    return {
        "homespec": 1,
        "name": "published",
        "family": "stem",
        "layers": len(layers),
        "features": features,
        "tasks": {task: {} for task in case.tasks},
        "experts": experts,
        "towers": {"hidden": case.tower},
    }


class Table(nn.Module):
    """An embedding for each id; row 0 is for unknown ids."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.randn(1 + size, width))

    def forward(self, ids: Tensor) -> Tensor:
        rows = [1 + i if 0 <= i < self.size else 0 for i in ids.tolist()]
        return torch.stack([self.weight[row] for row in rows])


class Stem(Model):
    """E_s, E_t: tables; u_t = sum of all experts by softmax(W_t [e_t, e_s] + b_t)."""

    case: StemCase

    def build(self) -> None:
        case = self.case
        self.places = ["shared", *case.tasks]
        self.tables = {
            (name, place): self.part(f"features.{name}.{place}", Table(size, case.widths[name]))
            for name, size in case.vocabularies.items()
            for place in self.places
        }
        self.stack: list[tuple[dict[str, list[nn.Module]], dict[str, nn.Module]]] = []
        n = case.inputs
        for k, level in enumerate(case.levels):
            last = k == len(case.levels) - 1
            layer = "task" if last else "meta" if k == 0 else f"meta{k + 1}"
            counts = {"shared": level.shared, **dict.fromkeys(case.tasks, level.task)}
            experts = {m: self.experts(layer, m, count, n, level) for m, count in counts.items()}
            gates = {}
            for node in case.tasks if last else counts:
                read = n if node == "shared" else 2 * n
                gate = Gate(read, sum(counts.values()))
                gates[node] = self.part(f"gates.{layer}.{node}", gate)
            self.stack.append((experts, gates))
            n = level.width

    def v(self, features: dict[str, Tensor]) -> Tensor:
        """All embeddings side by side: of a feature the shared one, then those of the tasks."""
        return torch.cat([table(features[name]) for (name, _), table in self.tables.items()], 1)

    def states(self, v: Tensor) -> dict[str, Tensor]:
        columns = v.split([self.case.widths[name] for name, _ in self.tables], 1)
        looked_up = dict(zip(self.tables, columns, strict=True))
        u = {
            place: torch.cat([looked_up[name, place] for name in self.case.vocabularies], 1)
            for place in self.places
        }
        for experts, gates in self.stack:
            e = {node: [expert(u[node]) for expert in own] for node, own in experts.items()}
            after = {}
            for node, gate in gates.items():
                mixed = [
                    x if node in ("shared", owner) or owner == "shared" else x.detach()
                    for owner in self.places
                    for x in e[owner]
                ]
                read = u[node] if node == "shared" else torch.cat([u[node], u["shared"]], 1)
                after[node] = gate(read, mixed)
            u = after
        return u
