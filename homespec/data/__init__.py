"""Data: making a synthetic log, preparing the real one, and reading either as tensors."""

from __future__ import annotations


class DataError(Exception):
    """Data that cannot be used; the message is one line for the user and names the remedy."""
