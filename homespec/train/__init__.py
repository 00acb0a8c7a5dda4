"""Training: trains a spec's model on prepared data, and writes weights, metrics and a table."""

from __future__ import annotations


class RunError(Exception):
    """Raised if a run cannot start or continue. The message names the remedy."""
