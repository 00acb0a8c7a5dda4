"""Training: reads vectors of a file for the rows of a table. No torch.

Sizes are compared with the spec before vectors are read, and nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors

from homespec.data import DataError, columns
from homespec.data.columns import Array
from homespec.data.table_cover import ID

VECTOR = "vector"
"""The column of vectors in a Parquet file."""
BATCH = 65_536
MAX_HEADER = 10_000
UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, pa.ArrowException, safetensors.SafetensorError
)  # fmt: skip
RowsOf = Callable[[pa.ChunkedArray], Array]
"""Maps a column of ids [N] to rows of the table, int64 [N]; 0 for ids without a row."""


def vectors_of(
    path: Path, shape: tuple[int, int], rows_of: RowsOf
) -> Iterator[tuple[Array, Array]]:
    """Rows int64 [N] of a table, counted from 1, and their vectors [N, dim], in parts.

    `shape` is that of a file with a vector for each id: the number of ids, and dim. Raises
    DataError for a file that cannot be read, another shape, and numbers that are missing or
    infinite.
    """
    read = {".npy": _npy, ".safetensors": _safetensors}.get(path.suffix)
    try:
        if read is None:
            yield from _parquet(path, shape[1], rows_of)
            return
        vectors = read(path, shape)
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    _check_finite(path, vectors)
    yield np.arange(1, 1 + shape[0]), vectors


def _npy(path: Path, shape: tuple[int, int]) -> Array:
    # The array, memory-mapped, so that no memory is used before the shape is checked.
    mapped = np.load(path, mmap_mode="r", allow_pickle=False, max_header_size=MAX_HEADER)
    if not isinstance(mapped, np.ndarray):
        raise DataError(f"{path} is an archive of several arrays: save one with numpy.save")
    _check_shape(path, mapped.shape, shape)
    if mapped.dtype.kind != "f":
        raise DataError(f"{path} holds {mapped.dtype}, not floats")
    return mapped.astype(np.float64)


def _safetensors(path: Path, shape: tuple[int, int]) -> Array:
    with safetensors.safe_open(path, framework="np") as file:
        names = list(file.keys())
        if len(names) != 1:
            raise DataError(f"{path} holds {len(names)} tensors, and a table begins with one")
        part: Any = file.get_slice(names[0])
        _check_shape(path, tuple(part.get_shape()), shape)
        if part.get_dtype() not in ("F16", "F32", "F64"):
            raise DataError(f"{path} holds {part.get_dtype()}: save it as float32")
        vectors: Array = file.get_tensor(names[0]).astype(np.float64)
        return vectors


def _check_shape(path: Path, found: tuple[int, ...], wanted: tuple[int, int]) -> None:
    if found != wanted:
        raise DataError(
            f"{path} is {list(found)}, and the spec has {wanted[0]:,} ids of `dim` {wanted[1]}: it"
            f" must be {list(wanted)}, a vector for each id of `vocab` in their order"
        )


def _check_finite(path: Path, vectors: Array) -> None:
    if not np.isfinite(vectors).all():
        raise DataError(f"{path} holds a number that is missing or infinite")
    if (np.abs(vectors) > np.finfo(np.float32).max).any():
        raise DataError(f"{path} holds a number that is too large for float32")


def _parquet(path: Path, dim: int, rows_of: RowsOf) -> Iterator[tuple[Array, Array]]:
    file = pq.ParquetFile(path)
    lacking = {ID, VECTOR} - set(file.schema_arrow.names)
    if lacking:
        raise DataError(f"{path} has no column `{min(lacking)}`: it needs `{ID}` and `{VECTOR}`")
    seen = np.empty(0, np.int64)
    for batch in file.iter_batches(BATCH, columns=[ID, VECTOR]):
        rows = rows_of(batch.column(ID))
        with columns.naming(str(path), VECTOR):
            vectors = columns.vectors(batch.column(VECTOR), dim)
        known = rows > 0
        rows, vectors = rows[known], vectors[known]
        _check_finite(path, vectors)
        seen = np.concatenate([seen, rows])
        if len(np.unique(seen)) < len(seen):
            raise DataError(f"{path} has two vectors of one id")
        yield rows, vectors
