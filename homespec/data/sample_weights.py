"""Data: reads the weights of rows in the losses of tasks. No torch."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from homespec.data import DataError
from homespec.data.columns import Array, naming, numbers

LEAST, MOST = 1e-30, 1e30
"""The range in which sums of a batch's weights, and divisors of gradients, fit in float32."""


def sample_weights(who: str, column: str, batch: pa.Table) -> Array:
    """Weights float32 [N] of a column.

    Raises DataError for a weight that is not 0 or in the range.
    """
    with naming(who, column):
        weights = numbers(batch[column].combine_chunks(), pa.float64())
        usable = (weights == 0) | ((weights >= LEAST) & (weights <= MOST))
        wrong = weights[~usable]
        if len(wrong):
            raise DataError(_reason(float(wrong[0])))
    return weights.astype(np.float32, copy=False)


def _reason(weight: float) -> str:
    if np.isnan(weight):
        return "lacks the weight of a row; write 0 if a row should not count"
    if weight < 0:
        return f"holds the weight {weight:g}; weights are 0 or more"
    if weight < LEAST:
        return f"holds the weight {weight:g}; weights are 0, or at least {LEAST:g}"
    return f"holds the weight {weight:g}; weights are at most {MOST:g}: divide all of them"
