"""Activations: running sums over rows, whose memory does not grow with the number of rows."""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Mean and variance over rows of each element, in float64 (Chan's update)."""

    def __init__(self) -> None:
        self.rows = 0
        self.mean = self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, values_B: Tensor) -> None:
        """Add values [B, ...]."""
        rows = len(values_B)
        variance, mean = torch.var_mean(values_B, 0, correction=0)
        mean, squares = mean.double(), variance.double() * rows
        total = self.rows + rows
        change = mean - self.mean
        self._squares = self._squares + squares + change.square() * (self.rows * rows / total)
        self.mean = self.mean + change * (rows / total)
        self.rows = total

    @property
    def variance(self) -> Tensor:
        """The variance over rows (divided by their number)."""
        return self._squares / max(1, self.rows)

    @property
    def std(self) -> Tensor:
        """The standard deviation over rows."""
        return self.variance.clamp(min=0).sqrt()


class Range:
    """Smallest and largest value over rows of each element."""

    def __init__(self) -> None:
        self.low: Tensor | None = None
        self.high: Tensor | None = None

    def add(self, values_B: Tensor) -> None:
        """Add values [B, ...]."""
        low, high = values_B.aminmax(dim=0)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)

    @property
    def extent(self) -> Tensor:
        """Largest minus smallest value."""
        assert self.low is not None
        assert self.high is not None
        return self.high - self.low


class Mean:
    """The mean over rows of each element, in float64."""

    def __init__(self) -> None:
        self.rows = 0
        self.total = torch.zeros((), dtype=torch.float64)

    def add(self, values_B: Tensor) -> None:
        """Add values [B, ...]."""
        self.add_total(values_B.sum(0, dtype=torch.float64), len(values_B))

    def add_total(self, total: Tensor, rows: int) -> None:
        """Add a sum over rows."""
        self.total = self.total + total.double()
        self.rows += rows

    @property
    def value(self) -> Tensor:
        """The mean."""
        return self.total / max(1, self.rows)
