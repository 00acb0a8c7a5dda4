"""Data: turns files of rows into batches of tensors, and checks the files."""

from __future__ import annotations


class DataError(Exception):
    """Raised for data that cannot be used. The message is one line and names the remedy."""
