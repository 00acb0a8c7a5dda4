"""The page of the docs: its commands and its Python run as they are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from homespec.cli import evaluate as cli_evaluate
from homespec.cli import predict as cli_predict
from homespec.cli.main import cli
from homespec.scoring.predict import BATCH_SIZE
from homespec.scoring.slices import MAX_SLICES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "predict.md").read_text("utf-8")


@pytest.fixture
def here(trained: Path, valid: Path, tmp_path: Path) -> Path:
    """A folder with what the page names."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "shorts").symlink_to(trained)
    for name in ("today.parquet", "yesterday.parquet"):
        (tmp_path / name).symlink_to(valid)
    return tmp_path


def test_commands_and_python_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    python = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert (len(shell), len(python)) == (1, 2)
    monkeypatch.chdir(here)
    for line in shell[0].splitlines():
        program, *words = shlex.split(line)
        assert program == "homespec"
        made = CliRunner().invoke(cli, words)
        assert made.exit_code == 0, made.output
    whole = pq.read_table("scores.parquet")
    assert whole.column_names[:3] == ["user_id", "video_id", "click"]
    names: dict[str, Any] = {}
    for block in python:
        exec(block, names)
    assert names["table"].equals(whole)
    assert names["best"].num_rows == 10


def test_every_flag_is_on_the_page() -> None:
    for command in (cli_predict.predict, cli_evaluate.evaluate):
        for option in command.params:
            if option.opts[0].startswith("-"):
                assert f"`{option.opts[0]}" in PAGE, option.opts


def test_numbers_of_the_page() -> None:
    assert f"at a time, {BATCH_SIZE} by default" in PAGE
    shown = CliRunner().invoke(cli, ["predict", "--help"]).output
    assert re.search(rf"\[default:\s+{BATCH_SIZE}\]", shown)
    assert f"with at most {MAX_SLICES} different values" in PAGE
