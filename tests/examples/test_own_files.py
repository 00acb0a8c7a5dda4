"""Preparing data replaces only files that an earlier preparation wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.kuairand import synthesize
from examples.kuairand.prepare import prepare
from homespec.data import DataError


def others(out: Path, *names: str) -> dict[str, str]:
    """Files that are not ours."""
    out.mkdir(exist_ok=True)
    for name in names:
        (out / name).write_text(f"mine: {name}")
    return content(out)


def content(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in out.iterdir()}


@pytest.mark.parametrize("name", ["train.parquet", "valid.parquet", "bayes.json", "prepared.json"])
def test_a_prepared_log_replaces_only_its_own(
    log: synthesize.Log, tmp_path: Path, name: str
) -> None:
    synthesize.write(log, tmp_path / "log")
    before = others(tmp_path / "out", name)
    with pytest.raises(DataError, match=f"holds {name}, which this program did not write"):
        prepare(tmp_path / "log", tmp_path / "out")
    assert content(tmp_path / "out") == before


def test_a_synthetic_log_does_not_replace_a_real_one(log: synthesize.Log, tmp_path: Path) -> None:
    before = others(tmp_path, synthesize.LOG_FILE, synthesize.USERS_FILE)
    with pytest.raises(DataError, match=f"holds {synthesize.LOG_FILE}, which this program did not"):
        synthesize.write(log, tmp_path)
    assert content(tmp_path) == before
