"""Training: metrics of predictions, exact and vectorised. Needs only numpy.

Arrays are [N], one row for each impression. A row whose label is NaN was not observed and does not
count. A metric of no rows is NaN. Scores and estimates must not be NaN. Sums are computed in
float64. With `weights`, a row of weight 2 counts like two equal rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NO_USER = -1
"""The user number of a row without a user."""

HIGHER_IS_BETTER = {
    "auc": True,
    "gauc": True,
    "logloss": False,
    "mae": False,
    "rmse": False,
}
"""The metrics that may choose the best epoch. PCOC may not, because it is best at 1."""


def is_better(metric: str, value: float, than: float) -> bool:
    """Whether a value of such a metric is better; False if one of them is NaN."""
    return value > than if HIGHER_IS_BETTER[metric] else value < than


def measure(
    kind: str, output: Array, label: Array, users: Array | None = None, scale: float = 1.0,
    weights: Array | None = None,
) -> dict[str, float]:  # fmt: skip
    """All metrics of a task on held-out rows, by name.

    `output` is the output of the model: logits of a `binary` task, estimates in units of `scale` of
    a `regression`, whose metrics are in the units of the label. `users` are the users of the rows
    for GAUC, which is left out without them; rows with user -1 (unknown) do not count there.
    """
    seen = ~np.isnan(label)
    output, label = output[seen], label[seen]
    weights = None if weights is None else weights[seen]
    if kind == "regression":
        estimate = output * scale
        return {
            "mae": mean_absolute_error(estimate, label, weights),
            "rmse": root_mean_square_error(estimate, label, weights),
            "pcoc": calibration(estimate, label, weights),
        }
    grouped = {}
    if users is not None:
        users = users[seen]
        known = users != NO_USER
        own = None if weights is None else weights[known]
        grouped["gauc"] = gauc(output[known], label[known], users[known], own)
    return {
        "auc": auc(output, label, weights),
        **grouped,
        "logloss": log_loss(output, label, weights),
        "pcoc": calibration(sigmoid(output), label, weights),
    }


def mean(values: Array, weights: Array | None = None) -> float:
    """The weighted mean in float64; NaN if there are no values."""
    if weights is None:
        return float(values.mean(dtype=np.float64)) if len(values) else math.nan
    total = weights.sum(dtype=np.float64)
    return float((values * weights.astype(np.float64)).sum() / total) if total else math.nan


def weighted(
    measured: Mapping[str, Mapping[str, float]], metric: str, weights: Mapping[str, float]
) -> float:
    """The weighted mean of one metric over tasks, which compares epochs.

    Tasks without the metric, or with the value NaN (only one class), are left out; NaN if none is
    left. Held-out rows stay the same, so every epoch leaves out the same tasks. If all remaining
    tasks have weight 0, as the click of ESMM may, they count equally.
    """
    values = {task: own[metric] for task, own in measured.items() if metric in own}
    known = {task: value for task, value in values.items() if not math.isnan(value)}
    if not known:
        return math.nan
    own = {task: weights[task] for task in known}
    if not any(own.values()):
        own = dict.fromkeys(known, 1.0)
    return sum(own[task] * value for task, value in known.items()) / sum(own.values())


def auc(score: Array, positive: Array, weights: Array | None = None) -> float:
    """The exact area under the ROC curve: the probability that a positive scores above a negative.

    Ties count half. `positive` is a label 0 or 1, or the probability of being positive, which gives
    the AUC to expect (over pairs i != j, weighted by P(i positive and j negative)). NaN if there
    is no pair, as with one class only.
    """
    seen = ~np.isnan(positive)
    positive = positive[seen].astype(np.float64)
    negative = 1 - positive
    if weights is not None:
        positive, negative = (each * weights[seen] for each in (positive, negative))
    _, rank = np.unique(score[seen], return_inverse=True)
    positives = np.bincount(rank, positive)
    negatives = np.bincount(rank, negative)
    below = np.cumsum(negatives) - negatives
    itself = (positive * negative).sum()
    won = (positives * (below + negatives / 2)).sum() - itself / 2
    pairs = positives.sum() * negatives.sum() - itself
    return float(won / pairs) if pairs > 0 else float("nan")


def gauc(score: Array, label: Array, user: Array, weights: Array | None = None) -> float:
    """The mean over users of their AUC, weighted by their number of rows.

    Only users with a positive and a negative row count; ties count half. `label` is 0 or 1; `user`
    is anything that can be sorted. Source: Zhu et al., *Optimized Cost per Click in Taobao Display
    Advertising*, KDD 2017; the weights are numbers of impressions, or sums of row weights.
    """
    auc_U, rows_U = user_aucs(score, label, user, weights)
    return float(np.average(auc_U, weights=rows_U)) if len(auc_U) else math.nan


def user_aucs(
    score: Array, label: Array, user: Array, weights: Array | None = None
) -> tuple[Array, Array]:
    """The AUC [U] of each user with a positive and a negative row, and their number of rows [U].

    Arguments are those of `gauc`. Most of the work is one sort of 64-bit numbers, which combine
    user, score and label in this order of importance.
    """
    seen = ~np.isnan(label)
    if not seen.any():
        return np.empty(0), np.empty(0, np.int64)
    if weights is not None:
        return _weighted_user_aucs(score[seen], label[seen], user[seen], weights[seen])
    key = _codes(user[seen]) << np.uint64(33) | _ranks(score[seen]) << np.uint64(1)
    key |= (label[seen] > 0).astype(np.uint64)
    key.sort()
    starts = _starts(key >> np.uint64(1))  # for tied rows of one user
    rows = np.diff(starts, append=len(key))
    positives = np.add.reduceat((key & np.uint64(1)).astype(np.int64), starts)
    negatives = rows - positives
    first = _starts(key[starts] >> np.uint64(33))  # for a user's ties
    before = np.cumsum(negatives) - negatives
    below = before - np.repeat(before[first], np.diff(first, append=len(starts)))
    won_twice = np.add.reduceat(positives * (2 * below + negatives), first)
    pairs = np.add.reduceat(positives, first) * np.add.reduceat(negatives, first)
    of_user = np.add.reduceat(rows, first)
    both = pairs > 0
    return won_twice[both] / (2 * pairs[both]), of_user[both]


def _weighted_user_aucs(
    score: Array, label: Array, user: Array, weights: Array
) -> tuple[Array, Array]:
    """The same with row weights, which are summed by user: one sort by user and score."""
    codes, ranks = _codes(user), _ranks(score)
    order = np.lexsort((ranks, codes))
    codes, ranks = codes[order], ranks[order]
    weight = weights[order].astype(np.float64)
    is_positive = label[order] > 0
    starts = _starts(codes << np.uint64(32) | ranks)  # for tied rows of one user
    positives = np.add.reduceat(np.where(is_positive, weight, 0.0), starts)
    negatives = np.add.reduceat(np.where(is_positive, 0.0, weight), starts)
    first = _starts(codes[starts])
    before = np.cumsum(negatives) - negatives
    below = before - np.repeat(before[first], np.diff(first, append=len(starts)))
    won = np.add.reduceat(positives * (below + negatives / 2), first)
    of_positives, of_negatives = (np.add.reduceat(each, first) for each in (positives, negatives))
    both = (of_positives > 0) & (of_negatives > 0)
    pairs = of_positives[both] * of_negatives[both]
    return won[both] / pairs, (of_positives + of_negatives)[both]


def close_together(users: Array) -> Array:
    """The same users as small numbers, which saves `gauc` a sort for each task.

    int64 [N]; -1 stays -1.
    """
    if not len(users) or _close(users):
        return users
    codes: Array = np.unique(users, return_inverse=True)[1]
    codes[users == NO_USER] = NO_USER
    return codes


def _close(user: Array) -> bool:
    return int(user.max()) - int(user.min()) < 1 << 31


def _starts(values: Array) -> Array:
    """The start of each run of equal values; there must be at least one value."""
    return np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))


def _codes(user: Array) -> Array:
    """A number below 2^31 for each user, uint64: unchanged if small enough, else the rank."""
    if user.dtype.kind in "iu" and _close(user):
        wide = np.uint64 if user.dtype.kind == "u" else np.int64
        return (user.astype(wide) - wide(user.min())).astype(np.uint64)
    return np.unique(user, return_inverse=True)[1].astype(np.uint64)


def _ranks(score: Array) -> Array:
    """Numbers below 2^32, uint64, with the order of the scores, equal for equal scores."""
    if score.dtype != np.float32:
        return np.unique(score, return_inverse=True)[1].astype(np.uint64)
    bits = (score + np.float32(0)).view(np.uint32)  # + 0 turns -0 into 0
    negative = bits >> 31 == 1
    return np.where(negative, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)


def log_loss(logit: Array, label: Array, weights: Array | None = None) -> float:
    """The mean binary cross-entropy of logits, of any size."""
    seen = ~np.isnan(label)
    own = None if weights is None else weights[seen]
    return mean(log_losses(logit[seen], label[seen]), own)


def log_losses(logit: Array, label: Array) -> Array:
    """The binary cross-entropy of each logit [N], of any size: log(1 + e^z) - y z, float64 [N]."""
    z, y = logit.astype(np.float64), label.astype(np.float64)
    with np.errstate(invalid="ignore"):  # for a model that is no longer finite
        losses: Array = np.logaddexp(0, z) - y * z
    return losses


def calibration(predicted: Array, label: Array, weights: Array | None = None) -> float:
    """PCOC, predicted over observed: the mean prediction / the mean label. 1 is calibrated.

    `predicted` are probabilities, or estimates in the label's units. NaN if the labels sum to 0.
    """
    seen = ~np.isnan(label)
    predicted, label = predicted[seen], label[seen]
    if weights is not None:
        own = weights[seen].astype(np.float64)
        predicted, label = predicted * own, label * own
    observed = label.sum(dtype=np.float64)
    return float(predicted.sum(dtype=np.float64) / observed) if observed else math.nan


def sigmoid(logit: Array) -> Array:
    """Probabilities of logits, float64, without overflow."""
    z = logit.astype(np.float64)
    small = np.exp(-np.abs(z))
    return np.asarray(np.where(z < 0, small, 1.0) / (1 + small))


def mean_absolute_error(estimate: Array, label: Array, weights: Array | None = None) -> float:
    """The mean of |estimate - label|."""
    seen = ~np.isnan(label)
    return mean(np.abs((estimate - label)[seen]), None if weights is None else weights[seen])


def root_mean_square_error(estimate: Array, label: Array, weights: Array | None = None) -> float:
    """The root of the mean square of estimate - label."""
    seen = ~np.isnan(label)
    errors = (estimate - label)[seen].astype(np.float64)
    square = mean(np.square(errors), None if weights is None else weights[seen])
    return math.sqrt(square) if square == square else math.nan
