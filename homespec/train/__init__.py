"""Training: a spec and a folder of prepared data -> weights, metrics and a table."""

from __future__ import annotations


class RunError(Exception):
    """A run that cannot start or continue; the message is for the user and names the remedy."""
