"""What a change breaks. Imports nothing: the command line lists it."""

from __future__ import annotations

from enum import StrEnum


class Breaks(StrEnum):
    """What a change breaks, the gravest first."""

    INTERFACE = "interface"
    """What callers give and get: inputs, tasks, their order and their units."""
    CHECKPOINT = "checkpoint"
    """Names and shapes of weights: checkpoints need `homespec migrate`."""
    NUMERICS = "numerics"
    """The same weights compute something else."""
    TRAINING = "training"
    """What the model is trained on and how; a trained one stays as it is."""
    PROMISE = "promise"
    """Nothing in the model: what `expect` holds it to is less than before."""
    COSMETIC = "cosmetic"
    """Nothing: words, comments, order of keys."""
