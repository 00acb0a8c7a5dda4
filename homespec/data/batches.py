"""Data: rows held in memory -> batches of one size, shuffled to train, in order to evaluate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from homespec.data.reader import Examples


class Batch(NamedTuple):
    """Features by name and labels by task; see `Examples` for types and shapes."""

    features: dict[str, Tensor]
    labels: dict[str, Tensor]


def take(examples: Examples, rows: Tensor) -> Batch:
    """The batch of these rows, int64 [B]."""
    return Batch(
        {name: column[rows] for name, column in examples.features.items()},
        {task: label[rows] for task, label in examples.labels.items()},
    )


@dataclass(frozen=True)
class Shuffled:
    """One epoch's batches in an order that depends on seed and epoch alone.

    The rows that do not fill a last batch are left out (other ones each epoch): every batch has
    the same shape, and none is so small that BatchNorm's statistics are noise.
    """

    examples: Examples
    size: int
    seed: int
    epoch: int

    def __len__(self) -> int:
        """The number of batches."""
        return self.examples.rows // self.size

    def __iter__(self) -> Iterator[Batch]:
        """The batches, always in the same order."""
        random = np.random.default_rng([self.seed, self.epoch])
        shuffled = torch.from_numpy(random.permutation(self.examples.rows))
        for rows in torch.split(shuffled, self.size)[: len(self)]:
            yield take(self.examples, rows)


@dataclass(frozen=True)
class InOrder:
    """All rows in order; the last batch is filled up with copies of row 0 that have no labels."""

    examples: Examples
    size: int

    def __len__(self) -> int:
        """The number of batches."""
        return -(-self.examples.rows // self.size)

    def __iter__(self) -> Iterator[Batch]:
        """The batches, all of the same size."""
        for rows in torch.split(torch.arange(self.examples.rows), self.size):
            filling = self.size - len(rows)
            batch = take(self.examples, torch.cat([rows, rows.new_zeros(filling)]))
            for label in batch.labels.values():
                label[len(rows) :] = float("nan")
            yield batch
