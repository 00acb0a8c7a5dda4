"""The doctor: histograms of the predictions of binary tasks, for AUC and calibration."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from homespec.health.measures import Calibration

PER_LOGIT = 200
"""Bins per unit of the logit."""
LIMIT = 20
"""Logits are clamped to this magnitude."""
CURVE = 10
"""Points of a calibration curve. Each has about the same number of rows."""


class Scores:
    """Histograms of one task's logits by label.

    Memory depends on the number of bins, not of rows.
    """

    def __init__(self) -> None:
        bins = 2 * LIMIT * PER_LOGIT + 1
        self._rows, self._positive, self._predicted = torch.zeros(3, bins, dtype=torch.float64)

    def add(self, logits_B: Tensor, labels_B: Tensor) -> None:
        """Add rows. Rows without a label do not count."""
        seen = ~labels_B.isnan()
        logits, labels = logits_B[seen].double().cpu(), labels_B[seen].double().cpu()
        places = (logits.clamp(-LIMIT, LIMIT) + LIMIT).mul(PER_LOGIT).round().long()
        self._rows.index_add_(0, places, torch.ones_like(labels))
        self._positive.index_add_(0, places, labels)
        self._predicted.index_add_(0, places, logits.sigmoid())

    @property
    def auc(self) -> float:
        """The probability that a positive scores above a negative.

        Ties, which share a bin, count half.
        """
        negative = self._rows - self._positive
        below = negative.cumsum(0) - negative
        pairs = float(self._positive.sum() * negative.sum())
        won = float((self._positive * (below + negative / 2)).sum())
        return won / pairs if pairs else math.nan

    def calibration(self) -> tuple[Calibration, ...]:
        """Rows in the order of their predictions, in parts of about equal size."""
        total = float(self._rows.sum())
        if not total:
            return ()
        middle = self._rows.cumsum(0) - self._rows / 2
        part = (middle * (CURVE / total)).long().clamp(max=CURVE - 1)
        sums = torch.zeros(3, CURVE, dtype=torch.float64)
        values = torch.stack([self._predicted, self._positive, self._rows])
        rows = sums.index_add_(1, part, values).T.tolist()
        return tuple(Calibration(p / n, y / n, round(n)) for p, y, n in rows if n)
