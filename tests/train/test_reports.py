"""What a run reports is true where labels are few: train losses, the best epoch, metrics.json."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import homespec
from homespec.train import report, run
from homespec.train.losses import Steps
from homespec.train.result import Result
from homespec.train.settings import Settings

TINY = """\
homespec: 1
name: tiny
features: {user_id: {id: {buckets: 100}, dim: 8}}
groups: {g: [click, like]}
tasks: {click: {label: is_click}, like: {label: is_like}}
experts: {width: 8, meta: {shared: 1, group: 1}, task: {shared: 1, group: 0, task: 1}}
gates: {feature: false, self: false}
"""


@pytest.fixture
def sparse(tmp_path: Path) -> Callable[..., Any]:
    """Trains TINY, eight rows a step, on labels of `like` that are given for both parts."""

    def trained(likes: dict[str, list[int | None]], **changed: Any) -> Result:
        for part, own in likes.items():
            users, clicks = [i % 90 for i in range(len(own))], [i % 2 for i in range(len(own))]
            like = pa.array(own, pa.int64())
            columns = {"user_id": users, "is_click": clicks, "is_like": like}
            pq.write_table(pa.table(columns), tmp_path / f"{part}.parquet")
        settings = Settings(batch_size=8, compile=False, lr=1e-9, shuffle_rows=0, **changed)
        place = run.Place([tmp_path], tmp_path / "out", overwrite=True)
        return run.train(homespec.loads(TINY), place, settings, print)

    return trained


def test_the_train_loss_is_that_of_rows_with_a_label(
    sparse: Callable[..., Result], tmp_path: Path
) -> None:
    """One step of four has labels of `like`, and none of the first tenth has."""
    likes = [i % 2 if 24 <= i % 32 < 28 else None for i in range(32 * 12)]
    result = sparse({"train": likes, "valid": [0, 1] * 8})
    with (tmp_path / "out" / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rows/like"]) for row in rows] == [0, 0, 0, 4] * 12
    assert {row["rows/click"] for row in rows} == {"8"}
    with_label = [float(row["like"]) for row in rows[-5:] if row["rows/like"] != "0"]
    assert len(with_label) == 2
    assert 0.6 < sum(with_label) / 2 == pytest.approx(result.tasks["like"].loss_last, rel=1e-5)
    assert result.tasks["like"].labelled == 4 * 12
    (entry,) = result.history.epochs
    assert 0.6 < entry["losses"]["like"] < 0.8
    late: list[int | None] = [None] * 300 + [0, 1] * 10
    result = sparse({"train": late, "valid": [0, 1] * 8})
    assert math.isnan(result.tasks["like"].loss_first)
    assert not any("had a label" in line for line in report.summary(result, tmp_path))
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(tmp_path / "out" / "tensorboard")).Reload()
    assert all(
        math.isfinite(e.value) for tag in found.Tags()["scalars"] for e in found.Scalars(tag)
    )


def test_a_loss_of_exactly_0_counts() -> None:
    steps = Steps(("a", "b"), np.array([[0.0, 0], [1.0, 0]]), np.array([[2, 0], [2, 0]]))
    assert steps.means() == {"a": 0.5, "b": pytest.approx(math.nan, nan_ok=True)}


def test_a_monitor_of_a_task_without_labels(sparse: Callable[..., Result], tmp_path: Path) -> None:
    result = sparse({"train": [0, 1] * 8, "valid": [None] * 16}, monitor="auc/like")
    (line,) = [line for line in report.summary(result, tmp_path) if line.startswith("No epoch")]
    assert "auc/like is undefined on the held-out rows, where no row has a label." in line


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"monitor": "auc/like", "patience": 1}, "`like` has rows of one class only"),
        ({"monitor": "gauc", "gauc_by": "user_id"}, "no user has rows of both classes"),
    ],
)
def test_a_monitor_that_is_never_defined(
    sparse: Callable[..., Result], tmp_path: Path, asked: dict[str, Any], why: str
) -> None:
    """The last epoch is kept, patience does not run out, and metrics.json is JSON."""
    result = sparse({"train": [0, 1] * 8, "valid": [0] * 16}, epochs=3, **asked)
    assert (len(result.history.epochs), result.history.best) == (3, 3)
    (line,) = [line for line in report.summary(result, tmp_path) if line.startswith("No epoch")]
    assert f"{asked['monitor']} is undefined on the held-out rows, where {why}." in line
    assert "the metrics are from the last epoch, 3 of 3" in line
    assert line.endswith("3; --patience had no effect.") == ("patience" in asked)
    best, last = (tmp_path / "out" / "checkpoints" / name for name in ("best", "last"))
    name = "model.safetensors"
    assert (best / name).read_bytes() == (last / name).read_bytes()
    for file in (tmp_path / "out").rglob("*.json"):
        json.loads(file.read_text(), parse_constant=lambda text: pytest.fail(text))
