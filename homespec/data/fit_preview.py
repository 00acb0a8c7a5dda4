"""Data: the boundaries that training would fit, and better ones, for `check-data`. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homespec.data.columns import Array
from homespec.data.quantile_fit import QuantileFit, as_float64, quantile_boundaries

MAX_PROPOSED = 8
"""The shares, at most, into which the numbers are cut that most rows do not hold."""


@dataclass(frozen=True)
class FitPreview:
    """The boundaries of one tensor, and the numbers that they are fitted to."""

    numbers: Array
    boundaries: tuple[float, ...]

    @property
    def distinct(self) -> int:
        """How many of them differ."""
        return len(set(self.boundaries))

    @property
    def buckets(self) -> int:
        """How many buckets a number falls into."""
        cuts = np.array(self.boundaries, self.numbers.dtype)  # as generated files compare
        return len(np.unique(np.searchsorted(cuts, self.numbers, side="right")))

    @property
    def most(self) -> tuple[float, float]:
        """The number that most rows hold, and their share."""
        values, counts = np.unique(self.numbers, return_counts=True)
        (most,) = as_float64(values[[counts.argmax()]])
        return most, float(counts.max() / len(self.numbers))

    @property
    def proposed(self) -> list[float]:
        """Boundaries around what most rows hold and evenly in the rest."""
        most, _ = self.most
        rest = self.numbers[self.numbers != most]
        if not len(rest):
            return []
        around = {most, *as_float64(np.unique(rest[rest > most])[:1])}
        even = quantile_boundaries(rest, min(MAX_PROPOSED, len(self.boundaries)))
        return sorted({*around, *even} - {*as_float64(self.numbers.min(keepdims=True))})


def previews(fit: QuantileFit) -> dict[str, FitPreview]:
    """What training would fit, by tensor, of those that have a number."""
    return {
        name: FitPreview(numbers, quantile_boundaries(numbers, fit.asked[name].quantiles))
        for name, sample in fit.samples.items()
        if len(numbers := sample.numbers)
    }
