"""Oracle of lists: value by value, in float64, from docs/lists.md. No padding, no masks."""

from __future__ import annotations

from typing import Any

import torch
from reference_sequences import is_there
from torch import Tensor, nn


class Pooled(nn.Module):
    """A list feature: the raw tensors of a batch -> [B, width]. `field` has its table."""

    def __init__(self, name: str, options: dict[str, Any], field: Any) -> None:
        super().__init__()
        self.name, self.options, self.field = name, options, field
        self.width = field.width

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        weights = features.get(f"{self.name}.weights")
        rows = []
        for b, values in enumerate(features[self.name].tolist()):
            there = [
                (self.field.weight[self.field.row(value)], 1.0 if weights is None else
                 self.weight(weights[b, i].item()))
                for i, value in enumerate(values) if is_there(value)
            ]  # fmt: skip
            rows.append(self.pooled(there))
        return torch.stack(rows)

    def weight(self, value: float) -> float:
        return value if is_there(value) else 0.0

    def pooled(self, there: list[tuple[Tensor, float]]) -> Tensor:
        nothing = 0 * self.field.weight[0]  # a gradient where no value is in the batch
        pool = self.options.get("pool", "mean")
        if pool == "max":
            return max_of([x for x, _ in there]) + nothing if there else nothing
        total = sum((w * x for x, w in there), nothing)
        weight = sum(w for _, w in there)
        if pool == "sum":
            return total
        return total / weight if weight else nothing


def max_of(values: list[Tensor]) -> Tensor:
    """The greatest of each number; equal ones share the gradient, as they do in the mean."""
    return torch.stack([torch.stack(each).amax() for each in zip(*values, strict=True)])
