"""Data: the boundaries that training would fit, for `check-data`. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homespec.data.columns import Array
from homespec.data.quantile_fit import QuantileFit, quantile_boundaries


@dataclass(frozen=True)
class FitPreview:
    """The boundaries of one tensor, and the numbers to which they are fitted."""

    numbers: Array
    boundaries: tuple[float, ...]

    @property
    def distinct(self) -> int:
        """Number of distinct boundaries."""
        return len(set(self.boundaries))

    @property
    def buckets(self) -> int:
        """Number of buckets that contain a number."""
        cuts = np.array(self.boundaries, self.numbers.dtype)  # compared as in generated files
        return len(np.unique(np.searchsorted(cuts, self.numbers, side="right")))


def previews(fit: QuantileFit) -> dict[str, FitPreview]:
    """The boundaries that training would fit, for tensors that have a number."""
    return {
        name: FitPreview(numbers, quantile_boundaries(numbers, fit.asked[name].quantiles))
        for name, sample in fit.samples.items()
        if len(numbers := sample.numbers)
    }
