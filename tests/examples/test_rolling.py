"""The rolling example: which rows and weights each day starts from, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import homespec
from examples.kuairand import rolling, synthesize
from examples.kuairand.prepare import prepare

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def prepared(log: synthesize.Log, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rolling")
    synthesize.write(log, folder / "log")
    prepare(folder / "log", folder / "prepared")
    return folder / "prepared"


def test_each_day_starts_from_the_day_before(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [str(prepared), str(out), "--seeds", "1", "--days", "3", "--batch-size", "256"]
    done = CliRunner().invoke(rolling.main, command)
    assert done.exit_code == 0, done.output
    first, second = "20220425", "20220426"
    metrics = json.loads((out / "warm-0" / second / "metrics.json").read_text())
    assert metrics["init_from"]["path"] == str(out / "warm-0" / first)
    assert metrics["init_from"]["moments"]
    assert "init_from" not in json.loads((out / "warm-0" / first / "metrics.json").read_text())
    days = rolling.split_by_day(prepared, out / "days")
    rows = {date: pq.read_metadata(path).num_rows for date, path in days.items()}
    for arm, trained in (("warm", [second]), ("fresh", [second]), ("all", [first, second])):
        of_arm = json.loads((out / f"{arm}-0" / second / "metrics.json").read_text())
        assert of_arm["rows_train"] == sum(rows[date] for date in trained)
        assert of_arm["rows_valid"] == rows["20220427"]
    found = json.loads((out / "rolling.json").read_text())
    assert [(day["arm"], day["tested"]) for day in found] == [
        (arm, tested) for tested in (second, "20220427") for arm in ("warm", "fresh", "all")
    ]
    text = (out / "rolling.md").read_text()
    assert "| 26 Apr | – |" in text
    assert "mean from 27 Apr on" in text
    assert (out / "rolling.svg").read_text().startswith("<?xml")
    times = (out / "warm-0" / second / "metrics.json").stat().st_mtime_ns
    again = CliRunner().invoke(rolling.main, [*command, "--plot", str(tmp_path / "plot.png")])
    assert again.exit_code == 0
    assert (out / "warm-0" / second / "metrics.json").stat().st_mtime_ns == times
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    other = CliRunner().invoke(rolling.main, [*command, "--lr", "0.01"])
    assert other.exit_code == 2
    assert "is a run of other settings or another spec: give another OUT" in other.stderr
    pq.write_table(pq.read_table(days[first]).slice(1), days[first])
    other = CliRunner().invoke(rolling.main, command)
    assert other.exit_code == 2
    assert "holds other rows of that day" in other.stderr


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(rolling.main, [str(tmp_path / "none"), str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "train.parquet is missing: prepare the log first" in done.stderr


def test_the_spec_is_clean() -> None:
    assert not homespec.validate(rolling.SPEC).diagnostics
