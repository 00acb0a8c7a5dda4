"""Data: what a model is trained on at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from homespec.data.plan import Arrays


class Batch(NamedTuple):
    """B rows.

    Features by the name of their tensor (types and shapes: `homespec.schema.input_tensors`),
    labels by task, float32 [B]: 0, 1 or NaN where not observed; numbers of regressions. Users
    int64 [B], the ids of whose impressions the rows are, where they were asked for; -1 for rows
    that only fill a batch up. Weights float32 [B] of the tasks that have sample weights. Sessions
    int64 [B], where tasks rank rows within them; -1 for a row in none.
    """

    features: dict[str, Tensor]
    labels: dict[str, Tensor]
    users: Tensor | None = None
    weights: dict[str, Tensor] = {}  # noqa: RUF012  # nothing is ever put into it
    sessions: Tensor | None = None


def as_batch(arrays: Arrays) -> Batch:
    """The same memory as tensors."""
    return Batch(
        {name: torch.from_numpy(array) for name, array in arrays.features.items()},
        {task: torch.from_numpy(array) for task, array in arrays.labels.items()},
        None if arrays.users is None else torch.from_numpy(arrays.users),
        {task: torch.from_numpy(array) for task, array in arrays.weights.items()},
        None if arrays.sessions is None else torch.from_numpy(arrays.sessions),
    )
