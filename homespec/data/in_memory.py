"""Data: all rows of a source in memory, where they fit: converted once, not each epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from homespec.data import DataError
from homespec.data.chunk_reader import ChunkReader
from homespec.data.files import DataFiles
from homespec.data.plan import Arrays, Plan

if TYPE_CHECKING:
    from homespec.schema.models import Spec

CACHE_BYTES = 4 * 2**30
"""What converted rows may take, unless told otherwise."""
SLAB_ROWS = 65_536


def load_rows(
    spec: Spec, source: DataFiles, users: str | None = None, limit: float = CACHE_BYTES
) -> Arrays | None:
    """The rows in the order of the files, or None if they take more than `limit` bytes.

    Raises DataError as `BatchDataset` does.
    """
    plan = Plan.of(spec, users)
    schema = source.schema(plan.wanted, plan.exact)
    if source.rows * plan.bytes_per_row > limit:
        return None
    reader = ChunkReader(source.chunks, schema)
    arrays: Arrays | None = None
    for low in range(0, source.rows, SLAB_ROWS):
        table = reader.table(low, min(low + SLAB_ROWS, source.rows))
        try:
            part = plan.convert(table)
        except DataError as error:
            raise DataError(f"{source}: {error}") from None
        arrays = arrays or _room(part, source.rows)
        for whole, some in zip(_flat(arrays), _flat(part), strict=True):
            whole[low : low + len(some)] = some
    return arrays or plan.convert(schema.empty_table())


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
