"""Drafting: numbers: quantiles, or one scaled column if there are few rows."""

from __future__ import annotations

import numpy as np

from homespec.data.columns import LARGEST, Array
from homespec.drafting.choice import Choice, LeftOut, number, share, width
from homespec.drafting.seen import Seen

QUANTILES = 32
ROWS_EACH = 50
"""Minimum number of rows in a quantile; with fewer, its embedding stays near its initial value."""
MIN_OTHER = 3
"""Minimum number of rows with a number other than the most frequent one."""
SKEWED = 2.0
"""Skewness above which a number is scaled by its logarithm."""
MAX_BOUNDARY = 2.0**53
SHARE_OF_ONE = 0.5


def choose_number(seen: Seen, wide: bool) -> Choice | LeftOut:
    """A feature of a number; in `wide` tables, a column of v instead of an embedding."""
    numbers = seen.row_numbers
    finite = numbers[np.isfinite(numbers)]
    _, counts = np.unique(finite, return_counts=True)
    if len(finite) - counts.max(initial=0) < MIN_OTHER:
        return LeftOut(seen.name, "nearly all of its numbers are the same")
    infinite = len(finite) < seen.present
    buckets = min(QUANTILES, seen.distinct, seen.present // ROWS_EACH)
    comment = _comment(seen, finite)
    fits = float(np.abs(finite).max()) <= LARGEST
    cuts = float(np.abs(finite).max()) < MAX_BOUNDARY
    scalable = fits and not infinite and _spreads(finite)
    if cuts and ((buckets >= 2 and not wide) or not scalable) and not _is_float16(seen):
        quantiles = max(2, buckets)
        return Choice(seen.name, {"bucketize": {"quantiles": quantiles}}, comment, width(quantiles))
    if not scalable:
        return LeftOut(seen.name, f"numbers up to {float(np.abs(finite).max()):.3g}: choose"
                       " another unit")  # fmt: skip
    scale = "log" if skewness(finite) > SKEWED else "standard"
    return Choice(seen.name, {"number": {"scale": scale}}, comment)


def _is_float16(seen: Seen) -> bool:
    return str(seen.kind) == "halffloat"


def _spreads(finite: Array) -> bool:
    return float(finite.std()) > 1e-30


def skewness(finite: Array) -> float:
    """The third standardised moment."""
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(finite.std())
        if not 0 < deviation < np.inf:
            return 0.0
        return float((((finite - finite.mean()) / deviation) ** 3).mean())


def _comment(seen: Seen, finite: Array) -> str:
    parts = [f"{number(float(finite.min()))} to {number(float(finite.max()))}"]
    if seen.distinct < seen.present:
        parts.append(f"{seen.distinct:,} different")
    top = int(seen.counts.max())
    if top >= SHARE_OF_ONE * seen.rows and seen.numbers is not None:
        value = float(seen.numbers[int(seen.counts.argmax())])
        parts.append(f"{share(top, seen.rows)} are {number(value)}")
    skew = skewness(finite)
    if abs(skew) > SKEWED:
        parts.append(f"skew {skew:.0f}")
    if seen.absent:
        parts.append(f"{share(seen.absent, seen.rows)} missing")
    return "; ".join(parts)
