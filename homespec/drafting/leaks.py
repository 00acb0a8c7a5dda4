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
SAME = 0.999
"""Correlation with a regression's label from which on a column is the same."""
STEPS = 50
"""Values of a column up to which it may be a label in buckets."""


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


def follows(seen: Seen, label: Array) -> str:
    """How a column is made of the label of a regression; "" if it does not seem to be.

    It is a multiple of it, or increases or decreases with it, as a logarithm does, or its values
    are those of intervals of it, as of a label in buckets.
    """
    values = _ranked(seen, label)
    both = np.isfinite(values) & np.isfinite(label)
    values, own = values[both], label[both]
    if len(own) < 3 or np.ptp(values) == 0 or np.ptp(own) == 0:
        return ""
    with np.errstate(all="ignore"):  # numbers may be as large as float64 has them
        plain = abs(np.corrcoef(values, own)[0, 1])
    if seen.numbers is not None and plain > SAME:
        return "in other numbers"
    if len(own) < MIN_ROWS:
        return ""
    rank = float(np.corrcoef(_ranks(values), _ranks(own))[0, 1])
    if seen.distinct > STEPS and abs(rank) > SAME:
        return f"on another scale: rank correlation {rank:.4f}"
    agree = max(_in_steps(values, own), _in_steps(-values, own))
    return "in steps" if agree >= TELLS else ""


def _ranked(seen: Seen, label: Array) -> Array:
    """By row a number for its value, NaN if missing: for texts, their mean label in one half."""
    if seen.numbers is not None:
        return seen.row_numbers
    known = seen.half & (seen.codes >= 0) & np.isfinite(label)
    rows = np.bincount(seen.codes[known], minlength=seen.distinct)
    if seen.distinct > STEPS or not len(rows):
        return np.full(len(label), np.nan)
    sums = np.bincount(seen.codes[known], label[known], seen.distinct)
    means = np.append(np.where(rows > 0, sums / np.maximum(rows, 1), np.nan), np.nan)
    return np.where(seen.half, np.nan, means[seen.codes])


def _ranks(values: Array) -> Array:
    """Ranks; equal values have their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - counts / 2)[places])


def _in_steps(values: Array, label: Array) -> float:
    """The share of rows that have the value of a step function of the label that only rises.

    Only rows with another value than the most frequent one count; 0 for fewer than MIN_EACH
    of them.
    """
    found, steps = values[np.lexsort((values, label))], np.sort(values)
    unique, counts = np.unique(steps, return_counts=True)
    rare = steps != unique[counts.argmax()]
    return float((found == steps)[rare].mean()) if rare.sum() >= MIN_EACH else 0.0
