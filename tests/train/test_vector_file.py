"""Vectors of a file become rows of a table, whose size is compared before they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from homespec.data import DataError
from homespec.train.vector_file import vectors_of

VECTORS = np.arange(12.0).reshape(4, 3)
SHAPE = (4, 3)


def rows_of(ids: Any) -> Any:
    """Ids 10, 20, 30 and 40 have rows 1 to 4."""
    numbers = ids.to_numpy(zero_copy_only=False)
    return np.where((numbers % 10 == 0) & (numbers <= 40), numbers // 10, 0)


def filled(path: Path) -> Any:
    table = np.full((5, 3), np.nan)
    for rows, vectors in vectors_of(path, SHAPE, rows_of):
        table[rows] = vectors
    return table


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path: Path, kind: Any, order: Any) -> None:
    np.save(tmp_path / "v.npy", np.asarray(VECTORS.astype(kind), order=order))
    table = filled(tmp_path / "v.npy")
    assert np.array_equal(table[1:], VECTORS)
    assert np.isnan(table[0]).all()


def test_safetensors(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"any": VECTORS.astype(np.float32)}, tmp_path / "v.safetensors")
    assert np.array_equal(filled(tmp_path / "v.safetensors")[1:], VECTORS)


def write(folder: Path, ids: list[Any], vectors: Any) -> Path:
    pq.write_table(pa.table({"id": ids, "vector": vectors}), folder / "v.parquet")
    return folder / "v.parquet"


def test_parquet_names_its_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homespec.train.vector_file.BATCH", 2)
    table = filled(write(tmp_path, [30, 7, 10, 50, 40], [[float(n)] * 3 for n in range(5)]))
    assert np.array_equal(table[[3, 1, 4], 0], [0.0, 2.0, 4.0])
    assert np.isnan(table[[0, 2]]).all()


def npy(array: Any) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        np.save(folder / "v.npy", array)
        return folder / "v.npy"

    return save


def tensors(**own: Any) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        safetensors.numpy.save_file(own, folder / "v.safetensors")
        return folder / "v.safetensors"

    return save


def parquet(ids: list[Any], vectors: Any) -> Callable[[Path], Path]:
    return lambda folder: write(folder, ids, vectors)


def text(name: str) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        (folder / name).write_text("not a file of vectors")
        return folder / name

    return save


def archive(folder: Path) -> Path:
    np.savez(folder / "v.npz", VECTORS)
    return (folder / "v.npz").rename(folder / "v.npy")


def empty(folder: Path) -> Path:
    (folder / "v.npy").touch()
    return folder / "v.npy"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (npy(VECTORS[:3]), r"is \[3, 3\], and the spec has 4 ids of `dim` 3: it must be \[4, 3\]"),
        (npy(VECTORS.T), r"is \[3, 4\]"),
        (npy(VECTORS.ravel()), r"is \[12\]"),
        (npy(VECTORS.astype(int)), "holds int64, not floats"),
        (npy(np.array([[{}] * 3] * 4, object)), "cannot be read"),  # a pickle, which is not run
        (npy(np.where(VECTORS == 5, np.nan, VECTORS)), "missing or infinite"),
        (npy(np.where(VECTORS == 5, np.inf, VECTORS)), "missing or infinite"),
        (npy(np.where(VECTORS == 5, -1e39, VECTORS)), "too large for float32"),
        (empty, r"v\.npy cannot be read"),
        (archive, "several arrays"),
        (text("v.npy"), "cannot be read"),
        (text("v.safetensors"), "cannot be read"),
        (text("v.parquet"), "cannot be read"),
        (tensors(a=VECTORS, b=VECTORS), "holds 2 tensors"),
        (tensors(a=VECTORS[:2]), r"is \[2, 3\]"),
        (tensors(a=VECTORS.astype(np.int32)), "holds I32"),
        (parquet([10, 10], [[1.0] * 3] * 2), "two vectors of one id"),
        (parquet([10, 20], [[1.0] * 2] * 2), "a list of 2 numbers, but the spec says 3"),
        (parquet([10, 20], [[1.0] * 3, None]), "missing or infinite"),
        (parquet([10, 20], ["a", "b"]), "vector"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, made: Callable[[Path], Path], said: str) -> None:
    with pytest.raises(DataError, match=said):
        filled(made(tmp_path))


def test_a_parquet_file_without_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [10]}), tmp_path / "v.parquet")
    with pytest.raises(DataError, match="no column `vector`"):
        filled(tmp_path / "v.parquet")
