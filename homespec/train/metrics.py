"""Training: the measures of predictions. Needs numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def auc(score: Array, positive: Array) -> float:
    """The exact area under the ROC curve: the chance that a positive row scores above a negative.

    Both [N]; ties count half. `positive` is a label 0 or 1, and a row whose label is NaN does not
    count; or the probability of being positive, which gives the AUC to expect (over pairs i != j,
    weighted by P(i positive and j negative)). NaN if there is no pair, as with one class only.
    """
    observed = ~np.isnan(positive)
    positive = positive[observed].astype(np.float64)
    _, rank = np.unique(score[observed], return_inverse=True)
    positives = np.bincount(rank, positive)
    negatives = np.bincount(rank, 1 - positive)
    below = np.cumsum(negatives) - negatives
    itself = (positive * (1 - positive)).sum()
    won = (positives * (below + negatives / 2)).sum() - itself / 2
    pairs = positives.sum() * negatives.sum() - itself
    return float(won / pairs) if pairs > 0 else float("nan")


def mean_absolute_error(estimate: Array, label: Array) -> float:
    """The mean of |estimate - label| over rows whose label is not NaN; both [N]. NaN if none."""
    errors = (estimate - label)[~np.isnan(label)]
    return float(np.abs(errors).mean(dtype=np.float64)) if len(errors) else float("nan")


def root_mean_square_error(estimate: Array, label: Array) -> float:
    """The root of the mean square of estimate - label over rows whose label is not NaN."""
    errors = (estimate - label)[~np.isnan(label)].astype(np.float64)
    return float(np.sqrt(np.square(errors).mean())) if len(errors) else float("nan")


def binary(score: Array, label: Array, users: Array | None) -> dict[str, float]:
    """The metrics of logits of a binary task; both [N], label NaN where not observed."""
    return {
        "rate": float(np.nanmean(label)) if (~np.isnan(label)).any() else float("nan"),
        "auc": auc(score, label),
    }


def regression(estimate: Array, label: Array) -> dict[str, float]:
    """The metrics of estimates of a regression; both [N], label NaN where not observed."""
    return {
        "rate": float(np.nanmean(label)) if (~np.isnan(label)).any() else float("nan"),
        "mae": mean_absolute_error(estimate, label),
        "rmse": root_mean_square_error(estimate, label),
    }
