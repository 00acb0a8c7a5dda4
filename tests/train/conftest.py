"""Shared by the tests of data and training: a small spec, parquet files, a small log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import homespec
from homespec.api import LoadedSpec
from homespec.data import synth

SMALL = """\
homespec: 1
name: small
features:
  user_id: {id: {buckets: 1000}, dim: 8}
  video_id: {id: {buckets: 1000}, dim: 8}
  tag: {id: {buckets: 1000}, dim: 8}
  tab: {id: {vocab: 15}, dim: 8}
  duration_ms: {bucketize: [10000, 18000, 30000, 60000, 120000], dim: 8}
groups:
  watch: [click, finish]
  interaction: [like, comment_stay]
tasks:
  click: {label: is_click}
  finish: {label: play_time_ms >= duration_ms}
  like: {label: is_like}
  comment_stay: {label: comment_stay_time > 0}
experts: {width: 16, meta: {shared: 1, group: 1}, task: {shared: 1, group: 1, task: 1}}
gates: {feature: {loras: 1, rank: 4}}
"""


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
def log() -> synth.Log:
    """A small synthetic log."""
    return synth.generate(seed=0, rows=12_000)


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    """Writes columns to a parquet file."""

    def write(name: str = "train.parquet", **columns: Any) -> Path:
        path = tmp_path / name
        pq.write_table(pa.table(columns), path)
        return path

    return write
