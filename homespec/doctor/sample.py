"""The doctor: the rows for knock-outs, sampled so that rare tasks have enough positives.

Rows with a positive of a rare task are one stratum, which is sampled more densely than the rest.
Means weight each stratum by its number of rows, so they estimate the mean of all rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from homespec.scoring.intervals import Z

STRATA = 2
"""The stratum of rows without a positive of a rare task, and that of rows with one."""
FEW = 400
"""A task is rare if a uniform sample would have fewer positives than this."""


@dataclass(frozen=True)
class Chunk:
    """Rows of a sample: inputs [B, V], labels [T, B] and strata [B]."""

    x_BV: Tensor
    labels_TB: Tensor
    strata_B: Tensor


class Sample:
    """Samples rows with a probability that depends only on their stratum. It is deterministic."""

    def __init__(self, wanted: int, rows: int, rates: Sequence[float]) -> None:
        """`rows` is the number of rows to come.

        `rates` are the shares of positives by task, NaN if unknown.
        """
        self.most = wanted
        self.rare = torch.tensor([rate * wanted < FEW for rate in rates])  # false for NaN
        expected = rows * sum(r for r, is_rare in zip(rates, self.rare, strict=True) if is_rare)
        often = min(1.0, wanted / 2 / expected) if expected else 1.0
        rest = max(0.0, wanted - often * expected) / max(1.0, rows - expected)
        self.chances = torch.tensor([min(1.0, rest), 1.0 if rows <= wanted else often])
        self.strata_rows = torch.zeros(STRATA, dtype=torch.int64)
        """All rows by stratum, sampled or not."""
        self._random = torch.Generator().manual_seed(0)
        self._kept: list[Chunk] = []

    def add(self, x_BV: Tensor, labels_TB: Tensor) -> None:
        """Sample from further rows."""
        labels_TB = labels_TB.cpu()
        strata_B = (labels_TB[self.rare] > 0).any(0).long()
        self.strata_rows += torch.bincount(strata_B, minlength=STRATA)
        drawn = torch.rand(len(strata_B), generator=self._random) < self.chances[strata_B]
        if drawn.any():
            self._kept.append(
                Chunk(x_BV[drawn.to(x_BV.device)], labels_TB[:, drawn], strata_B[drawn])
            )

    @property
    def rows(self) -> int:
        """The sampled rows."""
        return sum(len(chunk.strata_B) for chunk in self._kept)

    def join(self) -> None:
        """Join the sampled rows when no more rows will come, and drop those in excess.

        Too many rows may have been sampled, by chance or because a rate was not as expected. Each
        row is dropped with the same probability, so that the rows of a stratum remain a uniform
        sample of it.
        """
        if not self._kept:
            return
        stay = torch.randperm(self.rows, generator=self._random)[: self.most].sort().values
        x_BV = torch.cat([chunk.x_BV for chunk in self._kept])
        labels_TB = torch.cat([chunk.labels_TB for chunk in self._kept], 1)
        strata_B = torch.cat([chunk.strata_B for chunk in self._kept])
        self._kept = [Chunk(x_BV[stay.to(x_BV.device)], labels_TB[:, stay], strata_B[stay])]

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The sampled rows in chunks."""
        for kept in self._kept:
            for low in range(0, len(kept.strata_B), size):
                part = slice(low, low + size)
                yield Chunk(kept.x_BV[part], kept.labels_TB[:, part], kept.strata_B[part])

    @property
    def counts(self) -> Tensor:
        """Number of sampled rows by stratum [S]."""
        every = [torch.bincount(chunk.strata_B, minlength=STRATA) for chunk in self._kept]
        return torch.stack([torch.zeros(STRATA, dtype=torch.int64), *every]).sum(0)

    @property
    def weights(self) -> Tensor:
        """Number of rows that a sampled row represents, by stratum [S]."""
        return self.strata_rows / self.counts.clamp(min=1)

    def labelled(self, task: int) -> tuple[int, int]:
        """Number of sampled rows with a label of a task, and of the positives among them."""
        labels = torch.cat([torch.empty(0), *(c.labels_TB[task] for c in self._kept)])
        return int((~labels.isnan()).sum()), int((labels > 0.5).sum())


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


class Differences:
    """Differences of losses on the same rows, as sums by stratum and task."""

    def __init__(self, tasks: int) -> None:
        shape = (STRATA, tasks)
        self.rows, self.sums, self.squares = torch.zeros(3, *shape, dtype=torch.float64)

    def add(self, differences_TB: Tensor, strata_B: Tensor) -> None:
        """Add rows. A difference is NaN where a task has no label."""
        seen = ~differences_TB.isnan()
        values = differences_TB.nan_to_num()
        for total, part_TB in (
            (self.rows, seen.double()), (self.sums, values), (self.squares, values.square()),
        ):  # fmt: skip
            total.index_add_(0, strata_B, part_TB.T.cpu())

    def interval(self, task: int, sample: Sample) -> Interval:
        """The mean over all rows with a label.

        The variance is the sum of the variances within the strata and that of the strata's shares:
        sum_h W_h² s_h² / n_h + sum_h W_h z_h² / N, where z is the difference from the mean in rows
        with a label and 0 in others. For one stratum it is s² / n.
        """
        kept = sample.counts.double()
        share = sample.strata_rows.double() / sample.strata_rows.sum().clamp(min=1)
        per_row = share / kept.clamp(min=1)
        rows, sums, squares = self.rows[:, task], self.sums[:, task], self.squares[:, task]
        seen = float((per_row * rows).sum())
        if not seen:
            return Interval(math.nan, math.nan, math.nan)
        mean = float((per_row * sums).sum()) / seen
        z_sum = sums - mean * rows
        z_mean = z_sum / kept.clamp(min=1)
        z_square = squares - 2 * mean * sums + mean * mean * rows
        spread = (z_square - z_sum * z_mean).clamp(min=0) / (kept - 1).clamp(min=1)
        within = (share.square() * spread / kept.clamp(min=1)).sum()
        between = (share * z_mean.square()).sum() / sample.strata_rows.sum()
        error = math.sqrt(float(within + between)) / seen
        return Interval(mean, mean - Z * error, mean + Z * error)
