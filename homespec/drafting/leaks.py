"""Drafting: finds columns that almost determine a label, like data from after the event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from homespec.data.columns import Array
from homespec.drafting.seen import Seen

TELLS = 0.99
"""AUC of a single column from which it looks like a leak."""
MIN_EACH = 5
"""Minimum number of rows of each label in each half, so that such an AUC is not chance."""
BINS = 256
"""Numbers with more values are split into this many parts of equal size."""
MIN_ROWS = 200


def tells(seen: Seen, labels: Sequence[Array]) -> Iterator[float]:
    """The AUC of a column alone for each label; 0.5 if there are too few rows to tell.

    Its values, including the missing one, are scored by their rate of positives in one half of the
    rows and measured in the other half, in both directions. So an id that occurs once has no
    effect.
    """
    codes, values = _codes(seen)
    half = np.random.default_rng(0).random(len(codes)) < 0.5
    for own in labels:
        known = ~np.isnan(own)
        yield _tells(codes[known], half[known], own[known] == 1, values)


def _tells(codes: Array, half: Array, positive: Array, values: int) -> float:
    if len(codes) < MIN_ROWS:
        return 0.5
    for side in (half, ~half):
        if min(positive[side].sum(), (~positive[side]).sum()) < MIN_EACH:
            return 0.5
    found = []
    for fit, measured in ((half, ~half), (~half, half)):
        scores = _rates(codes[fit], positive[fit], values)
        found.append(_auc(scores, codes[measured], positive[measured], values))
    return float(np.mean(found))


def _codes(seen: Seen) -> tuple[Array, int]:
    """The index of each row's value, the last one for missing values; and the number of indices."""
    values, codes = seen.distinct, seen.codes
    if seen.numbers is not None and values > BINS:
        cuts = np.quantile(seen.numbers[codes[codes >= 0]], np.arange(1, BINS) / BINS)
        place = np.searchsorted(np.unique(cuts), seen.numbers, "right")
        values, codes = BINS, np.append(place, -1)[codes]
    return np.where(codes < 0, values, codes), values + 1


def _rates(codes: Array, positive: Array, values: int) -> Array:
    """The rate of each value [values]; the overall rate for values that do not occur."""
    rows = np.bincount(codes, minlength=values)
    hits = np.bincount(codes, weights=positive, minlength=values)
    mean = positive.mean()
    return np.asarray((hits + mean) / (rows + 1.0))


def _auc(scores: Array, codes: Array, positive: Array, values: int) -> float:
    """The AUC of scores [values] on rows; ties count half."""
    ones = np.bincount(codes, weights=positive, minlength=values)
    zeros = np.bincount(codes, minlength=values) - ones
    levels, at = np.unique(scores, return_inverse=True)
    ones = np.bincount(at, weights=ones, minlength=len(levels))
    zeros = np.bincount(at, weights=zeros, minlength=len(levels))
    below = np.cumsum(zeros) - zeros
    return float((ones * (below + zeros / 2)).sum() / (ones.sum() * zeros.sum()))
