"""Training: whether embedding tables of one width become one tensor, which takes one look-up."""

from __future__ import annotations

import torch

from homespec.train.settings import Settings

APART = ("batch-features",)
"""The pass that merges tables."""
LARGE_BATCH = 4096
"""Rows of a batch from which on a CPU is faster with each table by itself (docs/look-ups.md)."""


def merges(settings: Settings) -> bool:
    """What the settings say; where they are silent, whether it is faster.

    All embeddings of a merged table, and all their gradients, go through one tensor. That saves
    kernels and small operations, and costs memory traffic, which on a CPU counts in large batches.
    The batch is that of all processes, so that a run learns the same on any number of them.
    """
    if settings.merge_tables is not None:
        return settings.merge_tables
    sparse = settings.table_optimizer != "adam"  # measured with dense gradients
    return torch.cuda.is_available() or sparse or settings.batch_size < LARGE_BATCH


def skipped_passes(settings: Settings) -> tuple[str, ...]:
    """The passes that the code to train goes without."""
    return APART if settings.optimize and not merges(settings) else ()


def remark(settings: Settings) -> str | None:
    """A line for the user where tables are apart without being asked for."""
    if settings.merge_tables is None and skipped_passes(settings):
        return (
            "embedding tables stay separate, which is faster on a CPU with batches of"
            f" {LARGE_BATCH} rows or more (--merge-tables merges those of each width)"
        )
    return None
