"""Data: all rows of files in memory if they fit, so that they are converted only once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from homespec.data.chunk_reader import slabs
from homespec.data.columns import Array
from homespec.data.data_files import DataFiles
from homespec.data.plan import Arrays, Plan

if TYPE_CHECKING:
    from homespec.schema.models import Spec

CACHE_BYTES = 4 * 2**30
"""Default memory for converted rows."""


def load_rows(
    spec: Spec, files: DataFiles, users: str | None = None, limit: float = CACHE_BYTES
) -> Arrays | None:
    """The rows in the order of the files, or None if they take more than `limit` bytes.

    Raises DataError as `BatchDataset` does.
    """
    plan = Plan.of(spec, users)
    schema = files.schema(plan.wanted, plan.exact)
    if files.rows * plan.bytes_per_row > limit:
        return None
    whole: Arrays | None = None
    low = 0
    for table in slabs(files, schema):
        part = plan.read(table, files)
        whole = whole or _room(part, files.rows)
        for array, rows in zip(whole.columns, part.columns, strict=True):
            array[low : low + len(rows)] = rows
        low += part.rows
    return whole or plan.read(schema.empty_table(), files)


def _room(like: Arrays, rows: int) -> Arrays:
    """Arrays with `rows` rows, with the types and shapes of other arrays."""

    def room(array: Array) -> Array:
        return np.empty((rows, *array.shape[1:]), array.dtype)

    return like.map(room)
