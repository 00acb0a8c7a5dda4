"""Scoring: the rows of files through a trained model -> a file of scores, or metrics."""

from __future__ import annotations

from typing import Literal

Output = Literal["probabilities", "logits"]
"""The kind of a score. For a regression, an estimate in the unit of its label, or of its `scale`.
"""


class ScoringError(Exception):
    """Scores that cannot be computed or written; the message is for the user, with the remedy."""
