"""Data: files of rows -> batches of tensors, and what is wrong with the files."""

from __future__ import annotations


class DataError(Exception):
    """Data that cannot be used; the message is one line for the user and names the remedy."""
