"""`check-data` has nothing to say of the synthetic log, but for what so few rows lack by chance."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from examples.kuairand import synthesize
from examples.kuairand.prepare import prepare
from homespec.cli.main import cli

ROOT = Path(__file__).parents[2]


def test_nothing_is_said_of_the_synthetic_log(log: synthesize.Log, tmp_path: Path) -> None:
    synthesize.write(log, tmp_path / "log")
    prepare(tmp_path / "log", tmp_path / "prepared")
    spec = str(ROOT / "specs" / "kuairand.yaml")
    arguments = ["check-data", spec, str(tmp_path / "prepared"), "--format", "json"]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False, catch_exceptions=False)
    found = json.loads(result.stdout)["diagnostics"]
    rare = [one["message"] for one in found if one["code"] == "HS509"]
    assert len(rare) == len(found)
    assert all("valid.parquet: the label of" in message for message in rare)
