"""Oracle of crosses: pair by pair, in Python's integers, from docs/crosses.md."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

P = 2**31 - 1


def pair_row(a: int, b: int, buckets: int) -> int:
    """The row of two ids that are both known."""
    h = (1002008459 * (a % P) + 462779543 * (b % P)) % P
    return 1 + h * (h + 1) % P % buckets


class Crossed(nn.Module):
    """A cross: the raw tensors of a batch -> [B, width]. `fields` are the features by name."""

    def __init__(self, feature: dict[str, Any], fields: dict[str, Any]) -> None:
        super().__init__()
        self.of, self.buckets = feature["cross"]["of"], feature["cross"]["buckets"]
        self.known = [fields[name].row for name in self.of]
        self.width = feature["dim"]
        self.weight = nn.Parameter(torch.randn(1 + self.buckets, self.width))

    def row(self, a: int, b: int) -> int:
        known = all(row(each) > 0 for row, each in zip(self.known, (a, b), strict=True))
        return pair_row(a, b, self.buckets) if known else 0

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        a, b = (features[name].tolist() for name in self.of)
        return torch.stack([self.weight[self.row(*pair)] for pair in zip(a, b, strict=True)])
