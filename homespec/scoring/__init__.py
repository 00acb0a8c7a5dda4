"""Scoring: the rows of files through a trained model -> a file of scores, or metrics."""

from __future__ import annotations


class ScoringError(Exception):
    """Scores that cannot be computed or written; the message is for the user, with the remedy."""
