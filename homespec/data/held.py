"""Data: all rows of a source in memory, where they fit: converted once, not each epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from homespec.data import DataError
from homespec.data.plan import Arrays, Plan
from homespec.data.reading import Reader
from homespec.data.source import Source

if TYPE_CHECKING:
    from homespec.schema.models import Spec

CACHE_BYTES = 4 * 2**30
"""What converted rows may take, unless told otherwise."""
SLAB_ROWS = 65_536


def hold(
    spec: Spec, source: Source, users: str | None = None, limit: float = CACHE_BYTES
) -> Arrays | None:
    """The rows in the order of the files, or None if they take more than `limit` bytes.

    Raises DataError as `Stream` does.
    """
    plan = Plan.of(spec, users)
    schema = source.schema(plan.wanted, plan.exact)
    if source.rows * plan.bytes_per_row > limit:
        return None
    reader = Reader(source.chunks, schema)
    held: Arrays | None = None
    for low in range(0, source.rows, SLAB_ROWS):
        table = reader.table(low, min(low + SLAB_ROWS, source.rows))
        try:
            part = plan.convert(table)
        except DataError as error:
            raise DataError(f"{source}: {error}") from None
        held = held or _room(part, source.rows)
        for whole, some in zip(_flat(held), _flat(part), strict=True):
            whole[low : low + len(some)] = some
    return held or plan.convert(schema.empty_table())


def _room(like: Arrays, rows: int) -> Arrays:
    def room(array: np.ndarray) -> np.ndarray:
        return np.empty((rows, *array.shape[1:]), array.dtype)

    return Arrays(
        {name: room(array) for name, array in like.features.items()},
        {task: room(array) for task, array in like.labels.items()},
        None if like.users is None else room(like.users),
    )


def _flat(arrays: Arrays) -> list[np.ndarray]:
    users = [] if arrays.users is None else [arrays.users]
    return [*arrays.features.values(), *arrays.labels.values(), *users]
