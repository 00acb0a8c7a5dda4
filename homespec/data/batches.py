"""Data: the batches that a model is trained on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from homespec.data.plan import Arrays


class Batch(NamedTuple):
    """B rows.

    Features by the name of their tensor (types and shapes: `homespec.schema.input_tensors`), labels
    by task, float32 [B]: 0, 1 or NaN where not observed; numbers of regressions. Users int64 [B],
    if requested: the ids of the users whose impressions the rows are; -1 for padding rows. Weights
    float32 [B] of the tasks that have sample weights. Sessions int64 [B], where tasks rank rows
    within them; -1 for a row in none.
    """

    features: dict[str, Tensor]
    labels: dict[str, Tensor]
    users: Tensor | None = None
    weights: dict[str, Tensor] = {}  # noqa: RUF012  # it is never modified
    sessions: Tensor | None = None


def as_batch(arrays: Arrays) -> Batch:
    """The arrays as tensors that share their memory."""
    return Batch(
        {name: torch.from_numpy(array) for name, array in arrays.features.items()},
        {task: torch.from_numpy(array) for task, array in arrays.labels.items()},
        None if arrays.users is None else torch.from_numpy(arrays.users),
        {task: torch.from_numpy(array) for task, array in arrays.weights.items()},
        None if arrays.sessions is None else torch.from_numpy(arrays.sessions),
    )
