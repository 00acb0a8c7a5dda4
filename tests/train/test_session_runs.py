"""Runs whose losses rank rows within sessions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from small_spec import SMALL
from test_resume import assert_goes_on

import homespec
from homespec.cli.main import cli
from homespec.data import DataError
from homespec.train import RunError, run
from homespec.train.settings import Settings

SETTINGS = Settings(
    epochs=2, batch_size=128, lr=1e-2, compile=False, schedule="constant", checkpoint_every=3
)
BY = "click: {label: is_click, within: {column: user_id, weight: 0.5}}"
SPEC = SMALL.replace("click: {label: is_click}", BY)

SESSIONS = """\
homespec: 1
name: ranked
features: {item: {id: {vocab: 50}, dim: 4}, request_size: {dense: 1}}
family: shared_bottom
tasks: {click: {TERM}}
"""


def test_it_goes_on(data: Path, tmp_path: Path) -> None:
    """With the same rows in the same batches, whatever the process was stopped in."""
    few = dataclasses.replace(SETTINGS, limit_rows=900)
    assert_goes_on(homespec.loads(SPEC), data, tmp_path, few)
    for changed in (SPEC.replace("weight: 0.5", "weight: 0.4"), SMALL):
        place = run.Place([data], tmp_path / "b", resume=True)
        with pytest.raises(RunError, match=r"belongs to another spec: `tasks\.click\.within"):
            run.train(homespec.loads(changed), place, few, print)


def test_what_it_says_and_measures(data: Path, tmp_path: Path) -> None:
    """The share of rows that are compared, that users are scattered in a log by time, and GAUC."""
    said: list[str] = []
    once = dataclasses.replace(SETTINGS, epochs=1, limit_rows=4000)
    result = run.train(homespec.loads(SPEC), run.Place([data], tmp_path / "r"), once, said.append)
    assert 0 < result.tasks["click"].gauc < 1
    lines = "\n".join(said)
    assert "one of the other label and the same user_id in their batch" in lines
    assert "are not next to each other in" in lines
    assert "sort the rows by user_id" in lines


def logged(folder: Path, sessions: int, each: int, order: np.ndarray | None = None) -> Path:
    """A log in which a session adds to the odds, and so hides what items add."""
    draw = np.random.default_rng(0)
    rows = sessions * each
    item, session = draw.integers(0, 50, rows), np.arange(rows) // each
    odds = np.sin(item) + 3 * draw.normal(size=sessions)[session]
    click = draw.random(rows) < 1 / (1 + np.exp(-odds))
    columns = {
        "item": item, "request": session, "click": click.astype(int),
        "request_size": np.ones(rows),
    }  # fmt: skip
    table = pa.table(columns)
    table = table if order is None else table.take(pa.array(order))
    folder.mkdir()
    split = rows * 4 // 5 // each * each
    pq.write_table(table.slice(0, split), folder / "train.parquet")
    pq.write_table(table.slice(split), folder / "valid.parquet")
    return folder


def test_neighbours_are_compared(tmp_path: Path) -> None:
    """In files in the order of sessions nearly all of those that are mixed are compared."""
    folder = logged(tmp_path / "data", 500, 8)
    said: list[str] = []
    spec = homespec.loads(SESSIONS.replace("TERM", "within: {column: request}"))
    once = dataclasses.replace(SETTINGS, epochs=1)
    run.train(spec, run.Place([folder], tmp_path / "a"), once, said.append)
    line = next(line for line in said if "the same request" in line)
    share = float(line.rpartition("click ")[2].rstrip("%"))
    labels = pq.read_table(folder / "train.parquet")["click"].to_numpy().reshape(-1, 8)
    mixed = 100 * ((labels.sum(1) > 0) & (labels.sum(1) < 8)).mean()
    assert mixed - 6 < share <= mixed + 3
    assert not any("not next to each other" in each for each in said)


def test_a_long_session_is_split_and_said(tmp_path: Path) -> None:
    folder = logged(tmp_path / "data", 5, 300)
    said: list[str] = []
    spec = homespec.loads(SESSIONS.replace("TERM", "within: {column: request}"))
    once = dataclasses.replace(SETTINGS, epochs=1)
    run.train(spec, run.Place([folder], tmp_path / "a"), once, said.append)
    assert sum("has 300 rows next to each other" in each for each in said) == 1


def test_a_missing_column_is_named(data: Path, tmp_path: Path) -> None:
    spec = homespec.loads(SPEC.replace("column: user_id", "column: user_ids"))
    with pytest.raises(DataError, match=r"`within` wants the column `user_ids` \(did you mean"):
        run.train(spec, run.Place([data], tmp_path / "r"), SETTINGS, print)


def test_the_doctor_and_the_bench_know_it(data: Path, tmp_path: Path) -> None:
    """The former needs no ids of sessions in its rows, the latter makes some."""
    file = tmp_path / "ranked.yaml"
    file.write_text(SPEC)
    folder = tmp_path / "r"
    once = dataclasses.replace(SETTINGS, epochs=1, limit_rows=900)
    run.train(homespec.load(file), run.Place([data], folder), once, lambda _: None)
    for command in (
        ["doctor", str(folder), "--data", str(data / "valid.parquet"), "--rows", "500"],
        ["evaluate", str(folder), "--data", str(data / "valid.parquet")],
        ["show", str(file), "--expanded"],
    ):
        found = CliRunner().invoke(cli, command)
        assert found.exit_code == 0, (command, found.output)
    assert "within: {column: user_id, weight: 0.5}" in found.output
