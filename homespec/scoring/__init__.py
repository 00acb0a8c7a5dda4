"""Scoring: runs rows of files through a trained model, for scores or metrics."""

from __future__ import annotations

from typing import Literal

Output = Literal["probabilities", "logits"]
"""The kind of score.

The estimate of a regression is in the unit of its label, its logit in units of its `scale`.
"""


class ScoringError(Exception):
    """Raised for scores that cannot be computed or written; the message is for the user."""
