"""What a change can break. This file imports nothing heavy, because the command line lists it."""

from __future__ import annotations

from enum import StrEnum


class Breaks(StrEnum):
    """The kinds of breakage, the most severe first."""

    INTERFACE = "interface"
    """What callers pass and get: inputs, tasks, their order and their units."""
    CHECKPOINT = "checkpoint"
    """Names and shapes of weights: checkpoints need `homespec migrate`."""
    NUMERICS = "numerics"
    """What the same weights compute."""
    TRAINING = "training"
    """The training data and the training; a trained model stays as it is."""
    PROMISE = "promise"
    """Nothing in the model, but promises under `expect` are removed or weakened."""
    COSMETIC = "cosmetic"
    """Nothing: wording, comments, order of keys."""
