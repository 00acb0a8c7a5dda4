"""Shared by the tests of data and training: a small spec, parquet files, a small log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_spec import SMALL
from warm_runs import FITTED, train

import homespec
from examples.kuairand import synthesize
from examples.kuairand.prepare import prepare
from homespec.api import LoadedSpec


@pytest.fixture(scope="session")
def small() -> LoadedSpec:
    """A spec on columns of the joined log."""
    return homespec.loads(SMALL)


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    """The same spec as a file."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="session")
def log() -> synthesize.Log:
    """A small synthetic log."""
    return synthesize.generate(seed=0, rows=12_000)


@pytest.fixture(scope="session")
def data(log: synthesize.Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared synthetic log."""
    folder = tmp_path_factory.mktemp("data")
    synthesize.write(log, folder / "log")
    prepare(folder / "log", folder / "prepared")
    return folder / "prepared"


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    """Writes columns to a parquet file."""

    def write(name: str = "train.parquet", **columns: Any) -> Path:
        path = tmp_path / name
        pq.write_table(pa.table(columns), path)
        return path

    return write


@pytest.fixture(scope="session")
def yesterday(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs, of which the last is the best."""
    out = tmp_path_factory.mktemp("runs") / "yesterday"
    result = train(FITTED, data, out, epochs=2, monitor="logloss")
    assert result.history.best == 2
    return out
