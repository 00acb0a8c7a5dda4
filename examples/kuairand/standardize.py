"""The duration and the rates of a row as one vector of numbers on a common scale."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa

from examples.kuairand.historical_rates import MEASURES, OF
from homespec.data.columns import Array

DURATION = "duration_ms"
PAST = ("views", *MEASURES)
NAMES = (
    DURATION,
    *itertools.starmap(
        "{}_prior_{}".format,
        itertools.product(("user", "video"), ("views", "long_view", "like")),
    ),
    *itertools.starmap("{}_past_{}".format, itertools.product(OF, PAST)),
)
"""The columns of which the vector is made, in its order."""
SHORTEST = 1000.0
"""Durations below a second, also the 0 of pictures, count as one."""
OFFSET = 1e-4
"""Keeps the log-odds of the rates 0 and 1 finite."""
WIDEST = 4.0
"""Deviations from the mean beyond which a number is cut off."""


def with_scaled(table: pa.Table, end: int) -> pa.Table:
    """`table` with the column `scaled`, float32 [28]: `NAMES` in logarithms, standardised.

    Buckets cut rates coarsely; a network reads the order within them from these. The mean and the
    deviation are those of the days before `end`, so nothing that a model is measured on becomes an
    input. What is missing has the mean, 0.
    """
    before_N = table["date"].to_numpy() < end
    columns = [_standardised(_logarithm(table, name), before_N) for name in NAMES]
    numbers_NC = np.stack(columns, axis=1).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(numbers_NC.ravel()), len(NAMES))
    return table.append_column("scaled", lists)


def _logarithm(table: pa.Table, name: str) -> Array:
    """The logarithm of durations and numbers of views, the log-odds of rates; else NaN."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    values_N: Array = table[name].cast(pa.float64()).to_numpy()
    if name == DURATION:
        return np.asarray(np.log(np.maximum(values_N, SHORTEST)))
    if name.endswith("_views"):
        return np.asarray(np.log1p(values_N))
    return np.asarray(np.log((values_N + OFFSET) / (1 - values_N + OFFSET)))


def _standardised(values_N: Array, before_N: Array) -> Array:
    known = values_N[before_N & ~np.isnan(values_N)]
    deviation = known.std() if len(known) else 0.0
    if not deviation:
        return np.zeros(len(values_N))
    near_N = np.clip((values_N - known.mean()) / deviation, -WIDEST, WIDEST)
    return np.asarray(np.nan_to_num(near_N))
