"""Data: what a model is trained on at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from homespec.data.plan import Arrays


class Batch(NamedTuple):
    """B rows.

    Features by the name of their tensor (`homespec.schema.tensors` says their types and shapes),
    labels by task, float32 [B]: 0, 1 or NaN where not observed; numbers of regressions. Users
    int64 [B], the ids of whose impressions the rows are, where they were asked for; -1 for rows
    that only fill a batch up.
    """

    features: dict[str, Tensor]
    labels: dict[str, Tensor]
    users: Tensor | None = None


def as_batch(arrays: Arrays) -> Batch:
    """The same memory as tensors."""
    return Batch(
        {name: torch.from_numpy(array) for name, array in arrays.features.items()},
        {task: torch.from_numpy(array) for task, array in arrays.labels.items()},
        None if arrays.users is None else torch.from_numpy(arrays.users),
    )


def split(batch: Batch, rows: int) -> list[Batch]:
    """Batches of so many rows each, which share its memory."""
    features = {name: torch.split(column, rows) for name, column in batch.features.items()}
    labels = {task: torch.split(column, rows) for task, column in batch.labels.items()}
    users = None if batch.users is None else torch.split(batch.users, rows)
    count = len(next(iter(features.values())))
    return [
        Batch(
            {name: parts[i] for name, parts in features.items()},
            {task: parts[i] for task, parts in labels.items()},
            None if users is None else users[i],
        )
        for i in range(count)
    ]
