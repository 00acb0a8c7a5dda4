"""Training: decides whether embedding tables of one width are merged into one tensor."""

from __future__ import annotations

import torch

from homespec.train.settings import Settings

APART = ("batch-features",)
"""The pass that merges tables."""
LARGE_BATCH = 4096
"""Batch size from which a CPU is faster with separate tables (docs/look-ups.md)."""


def merges(settings: Settings) -> bool:
    """The choice in the settings or, without one, whether merging is faster.

    All embeddings of a merged table, and all their gradients, pass through one tensor. This saves
    kernels and small operations, but costs memory traffic, which matters on a CPU for large
    batches. The total batch over processes decides, so that a run learns the same on any number of
    them.
    """
    if settings.merge_tables is not None:
        return settings.merge_tables
    sparse = settings.table_optimizer != "adam"  # measured with dense gradients
    return torch.cuda.is_available() or sparse or settings.batch_size < LARGE_BATCH


def skipped_passes(settings: Settings) -> tuple[str, ...]:
    """The passes to skip for the training code."""
    return APART if settings.optimize and not merges(settings) else ()


def remark(settings: Settings) -> str | None:
    """A line for the user if tables are separate without a request."""
    if settings.merge_tables is None and skipped_passes(settings):
        return (
            "embedding tables stay separate, which is faster on a CPU with batches of"
            f" {LARGE_BATCH} rows or more (--merge-tables merges those of each width)"
        )
    return None
