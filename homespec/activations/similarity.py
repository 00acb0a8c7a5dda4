"""Activations: the similarity of the experts of a set, from the covariances of their channels."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

RIDGE = 1e-6
"""Regularisation of linear fits, relative to the mean of the variances."""


class Sibling(NamedTuple):
    """The index of another expert of a set, and how similar it is."""

    position: int
    similarity: float


class Covariances:
    """Weighted sums of products of the channels of all experts of a set, for any number of rows."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._shift: Tensor | None = None
        self._sums = self._products = torch.zeros((), dtype=torch.float64)
        self._count = 0

    def add(self, outputs_BKD: Tensor, weights_B: Tensor) -> None:
        """Add outputs, with a weight for each row."""
        outputs_BC = outputs_BKD.flatten(1)
        if self._shift is None:  # smaller numbers lose fewer digits in products
            self._shift, self._count = outputs_BC.mean(0), outputs_BKD.shape[1]
        centred = outputs_BC - self._shift
        weighted = centred * weights_B.to(centred).unsqueeze(1)
        self._products = self._products + (weighted.T @ centred).double()
        self._sums = self._sums + weighted.sum(0).double()
        self._weight += float(weights_B.sum())

    def covariance(self) -> Tensor:
        """The covariances [K, K, D, D] of the channels of experts."""
        mean = self._sums / self._weight
        every = self._products / self._weight - torch.outer(mean, mean)
        width = len(mean) // self._count
        return every.view(self._count, width, self._count, width).transpose(1, 2)

    def siblings(self) -> list[Sibling | None]:
        """By expert, the most similar other one, or None if there is none or none varies."""
        norms_KK = self.covariance().square().sum((2, 3))
        own_K = norms_KK.diagonal()
        cka_KK = norms_KK / (own_K.sqrt().unsqueeze(1) * own_K.sqrt())
        best: list[Sibling | None] = []
        for index, row in enumerate(cka_KK.tolist()):
            others = [
                Sibling(i, min(1.0, s))
                for i, s in enumerate(row)
                if i != index and math.isfinite(s)
            ]
            best.append(max(others, key=lambda other: other.similarity, default=None))
        return best

    def fit(self, index: int, by: int) -> tuple[Tensor, Tensor]:
        """Matrix [D, D] and offset [D] of the linear function of `by` closest to `index`."""
        assert self._shift is not None
        covariance = self.covariance()
        own = covariance[by, by]
        ridge = RIDGE * own.diagonal().mean() * torch.eye(len(own)).to(own)
        matrix = torch.linalg.solve(own + ridge, covariance[by, index])
        means = (self._sums / self._weight + self._shift).view(self._count, -1)
        return matrix, means[index] - means[by] @ matrix
