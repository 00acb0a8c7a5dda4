"""Shared by the tests of scoring: a spec with all kinds of inputs and tasks, rows, a short run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import homespec
from homespec.train import run
from homespec.train.settings import Settings

SPEC = """\
homespec: 1
name: mixed
features:
  user_id: {id: {buckets: 200}, dim: 4}
  video_id: {id: {buckets: 200}, dim: 4}
  tab: {id: {vocab: 5}, dim: 4}
  age: {bucketize: {quantiles: 6}, dim: 4}
  asr: {dense: 3}
  history: {sequence: {of: [video_id], max_len: 4, encoder: din}}
groups: {action: [click, cart], time: [watch]}
tasks:
  click: {label: is_click}
  cart: {label: is_cart, where: click}
  ctcvr: {label: is_cart, product: [click, cart]}
  watch: {label: play_ms, kind: regression, scale: 1000}
experts: {width: 8, meta: {shared: 1, group: 1}, task: {shared: 1, group: 1, task: 1}}
gates: {feature: false}
"""
LABELS = ("is_click", "is_cart", "play_ms")
SETTINGS = Settings(batch_size=64, lr=1e-2, compile=False, gauc_by="user_id", epochs=2)


def rows(count: int, seed: int) -> pa.Table:
    """Rows with something missing in every column."""
    random = np.random.default_rng(seed)

    def some(values: Any, share: float = 0.05) -> Any:
        return [None if random.random() < share else value for value in values]

    users = random.integers(0, 40, count)
    chance = 0.2 + 0.6 * (users % 7) / 7
    click = (random.random(count) < chance).astype(int)
    lists = [random.integers(0, 90, random.integers(0, 7)).tolist() for _ in range(count)]
    return pa.table(
        {
            "user_id": pa.array(some([f"u{user}" for user in users])),
            "video_id": pa.array(some(random.integers(0, 90, count).tolist()), pa.int64()),
            "tab": pa.array(some(random.integers(0, 5, count).tolist()), pa.int64()),
            "age": pa.array(some(random.integers(10, 70, count).tolist()), pa.float32()),
            "asr": pa.array(some(random.normal(size=(count, 3)).tolist()), pa.list_(pa.float32())),
            "history_video_id": pa.array(some(lists), pa.list_(pa.int64())),
            "is_click": pa.array(some(click.tolist()), pa.int8()),
            "is_cart": pa.array(some((click * (random.random(count) < 0.4)).astype(int).tolist())),
            "play_ms": pa.array(some((random.exponential(3000, count) * (1 + click)).tolist())),
            "scene": pa.array(some(random.choice(["feed", "search", "profile"], count).tolist())),
            "request": pa.array([f"r-{number}" for number in range(count)]),
        }
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.parquet and valid.parquet, and a run of two epochs in `run`."""
    out = tmp_path_factory.mktemp("scoring")
    (out / "data").mkdir()
    pq.write_table(rows(1500, 0), out / "data" / "train.parquet", row_group_size=400)
    pq.write_table(rows(500, 1), out / "data" / "valid.parquet", row_group_size=130)
    place = run.Place([out / "data"], out / "run")
    run.train(homespec.loads(SPEC), place, SETTINGS, lambda line: None)
    return out


@pytest.fixture(scope="session")
def trained(folder: Path) -> Path:
    """The folder of the run."""
    return folder / "run"


@pytest.fixture(scope="session")
def valid(folder: Path) -> Path:
    """Its held-out rows."""
    return folder / "data" / "valid.parquet"
