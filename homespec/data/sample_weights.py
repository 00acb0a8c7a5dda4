"""Data: columns -> the weights of rows in the losses of tasks. No torch."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from homespec.data import DataError
from homespec.data.columns import Array, naming, numbers


def sample_weights(who: str, column: str, batch: pa.Table) -> Array:
    """Weights float32 [N] of a column. Raises DataError where one is no number from 0 on."""
    with naming(who, column):
        weights = numbers(batch[column].combine_chunks())
        wrong = weights[~((weights >= 0) & np.isfinite(weights))]
        if len(wrong):
            raise DataError(_reason(float(wrong[0])))
    return weights


def _reason(weight: float) -> str:
    if np.isnan(weight):
        return "lacks the weight of a row; write 0 where a row is not to count"
    if weight < 0:
        return f"holds the weight {weight:g}; weights are 0 or more"
    return "holds a weight that is infinite, or too large for float32"
