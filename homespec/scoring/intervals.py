"""Scoring: closed-form 95 % confidence intervals of the metrics of a task. Needs only numpy.

Rows of one user resemble each other. So if users are known, users and not rows are treated as
independent samples. The same number of rows then says less, and intervals are wider.

AUC: the variance of DeLong, DeLong and Clarke-Pearson, *Comparing the Areas under Two or More
Correlated Receiver Operating Characteristic Curves*, Biometrics 44 (1988); of clusters, which
contains that as the case of one row each, Obuchowski, *Nonparametric Analysis of Clustered ROC
Curve Data*, Biometrics 53 (1997). All others are ratios of sums over rows or users: the linearised
variance of a ratio, Cochran, *Sampling Techniques* (1977), chapter 6.

Intervals are normal on a scale on which they cannot leave the valid range: log-odds for AUC and
GAUC (for AUC as in Pepe, *The Statistical Evaluation of Medical Tests*, 2003, chapter 5), the
logarithm for the others.

If rows have weights, sums are sums of weights: the same estimators, linearised in the weighted sums
(Horvitz-Thompson weights, taken as given).

Arrays are [N] as in `homespec.train.metrics`. An interval that cannot be estimated, such as from
one positive or without any variance, is (NaN, NaN).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from homespec.train.metrics import NO_USER, Array, log_losses, sigmoid, user_aucs

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)

Interval = tuple[float, float]
NONE: Interval = (math.nan, math.nan)


def intervals(
    kind: str, output: Array, label: Array, users: Array | None = None, scale: float = 1.0,
    weights: Array | None = None,
) -> dict[str, Interval]:  # fmt: skip
    """The interval of each metric of `metrics.measure`, which takes the same arguments."""
    seen = ~np.isnan(label)
    output, label = output[seen], label[seen]
    users = None if users is None else users[seen]
    weights = None if weights is None else weights[seen]
    clusters = None if users is None else cluster_numbers(users)
    if kind == "regression":
        return _of_regression(output * scale, label, clusters, weights)
    found = {
        "auc": auc_interval(output, label, clusters, weights),
        "logloss": mean_interval(log_losses(output, label), clusters, weights),
        "pcoc": log_interval(*ratio(sigmoid(output), label, clusters, weights)),
    }
    if users is None:
        return found
    return found | {"gauc": gauc_interval(output, label, users, weights)}


def _of_regression(
    estimate: Array, label: Array, clusters: Array | None, weights: Array | None
) -> dict[str, Interval]:
    error = (estimate - label).astype(np.float64)
    low, high = np.sqrt(mean_interval(np.square(error), clusters, weights)).tolist()
    return {
        "mae": mean_interval(np.abs(error), clusters, weights),
        "rmse": (low, high),
        "pcoc": log_interval(*ratio(estimate, label, clusters, weights)),
    }


def cluster_numbers(users: Array) -> Array:
    """A number from 0 for each user [N]; each row with an unknown user has its own number."""
    codes: Array = np.unique(users, return_inverse=True)[1]
    unknown = users == NO_USER
    codes[unknown] = len(users) + np.arange(unknown.sum())
    return np.asarray(np.unique(codes, return_inverse=True)[1])


# ---------------------------------------------------------------- variance -> interval


def log_odds_interval(value: float, variance: float) -> Interval:
    """The interval of a number between 0 and 1: symmetric on the scale of log-odds."""
    if not (0 < value < 1 and variance > 0):
        return NONE
    middle = math.log(value / (1 - value))
    reach = Z * math.sqrt(variance) / (value * (1 - value))
    low, high = sigmoid(np.array([middle - reach, middle + reach])).tolist()
    return low, high


def log_interval(value: float, variance: float) -> Interval:
    """The interval of a positive number: symmetric as a factor."""
    if not (value > 0 and variance > 0):
        return NONE
    factor = math.exp(min(700.0, Z * math.sqrt(variance) / value))  # e^710 overflows
    return value / factor, value * factor


# ---------------------------------------------------------------- AUC


def auc_interval(
    score: Array, label: Array, clusters: Array | None = None, weights: Array | None = None
) -> Interval:
    """The interval of the AUC of scores; labels are 0 or 1, `clusters` [N] are numbers from 0."""
    return log_odds_interval(*auc_variance(score, label, clusters, weights))


def auc_variance(
    score: Array, label: Array, clusters: Array | None = None, weights: Array | None = None
) -> tuple[float, float]:
    """The AUC and its variance; NaN where a class has fewer than two rows or users."""
    positive = label > 0
    weight: Array = np.ones(len(score)) if weights is None else weights.astype(np.float64)
    m, n = float(weight[positive].sum()), float(weight[~positive].sum())
    if not m or not n:
        return NONE
    placed = placements(score, positive, weight)
    value = float((placed * weight)[positive].sum() / m)
    groups = np.arange(len(score)) if clusters is None else clusters
    deviations = (placed - value) * weight
    of_positives = _sums(deviations, positive, groups)
    of_negatives = _sums(deviations, ~positive, groups)
    i, j, of_both = (
        np.count_nonzero(np.bincount(groups[own])) for own in (positive, ~positive, slice(None))
    )
    if i < 2 or j < 2:
        return value, math.nan
    variance = i / (i - 1) * np.square(of_positives / m).sum()
    variance += j / (j - 1) * np.square(of_negatives / n).sum()
    variance += 2 * of_both / (of_both - 1) * (of_positives / m * (of_negatives / n)).sum()
    return value, max(0.0, float(variance))


def placements(score: Array, positive: Array, weight: Array) -> Array:
    """For each row [N], the share of the other class on its proper side; ties count half.

    Negatives should be below a positive row, positives above a negative row. The mean over the rows
    of either class is the AUC.
    """
    _, rank = np.unique(score, return_inverse=True)
    positives = np.bincount(rank, positive * weight)
    negatives = np.bincount(rank, ~positive * weight)
    below = (np.cumsum(negatives) - negatives / 2) / negatives.sum()
    above = 1 - (np.cumsum(positives) - positives / 2) / positives.sum()
    return np.asarray(np.where(positive, below[rank], above[rank]))


def _sums(values: Array, own: Array, groups: Array) -> Array:
    """For each group, the sum over its rows of a class."""
    return np.bincount(groups[own], values[own], minlength=int(groups.max()) + 1)


# ---------------------------------------------------------------- ratios


def ratio(
    numerator: Array, denominator: Array, clusters: Array | None = None,
    weights: Array | None = None,
) -> tuple[float, float]:  # fmt: skip
    """The ratio of two sums over rows, and its variance; NaN for fewer than two rows or users, and
    for a ratio that is not finite.
    """
    top: Array
    bottom: Array
    top, bottom = (each.astype(np.float64) for each in (numerator, denominator))
    if weights is not None:
        top, bottom = top * weights, bottom * weights
    if clusters is not None and len(clusters):
        top, bottom = (np.bincount(clusters, each) for each in (top, bottom))
    count, total = len(top), float(bottom.sum())
    if not total:
        return NONE
    value = float(top.sum() / total)
    if count < 2 or not math.isfinite(value):
        return value, math.nan
    residuals = top - value * bottom
    return value, float(count / (count - 1) * np.square(residuals).sum() / total**2)


def mean_interval(
    values: Array, clusters: Array | None = None, weights: Array | None = None
) -> Interval:
    """The interval of the mean over rows of non-negative numbers."""
    return log_interval(*ratio(values, np.ones(len(values)), clusters, weights))


def gauc_interval(
    score: Array, label: Array, users: Array, weights: Array | None = None
) -> Interval:
    """The interval of GAUC.

    The samples are the users that have an AUC, each weighted by its rows.
    """
    known = users != NO_USER
    own = None if weights is None else weights[known]
    auc_U, rows_U = user_aucs(score[known], label[known], users[known], own)
    return log_odds_interval(*ratio(auc_U * rows_U, rows_U))
