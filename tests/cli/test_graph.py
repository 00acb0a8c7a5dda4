"""`homespec graph`: the formats themselves are tested in tests/analysis/test_drawing.py."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from homespec.cli.main import cli
from homespec.drawing import FORMATS

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "specs" / "quickstart.yaml")


def graph(*args: str, text: str | None = None) -> tuple[int, Result]:
    result = CliRunner().invoke(cli, ["graph", *args], input=text, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, result


@pytest.mark.parametrize("optimized", [[], ["--optimized"]])
@pytest.mark.parametrize("form", FORMATS)
def test_formats(form: str, optimized: list[str]) -> None:
    code, result = graph(QUICKSTART, "-f", form, *optimized)
    assert (code, result.stderr) == (0, "")
    starts = {"text": "", "mermaid": "flowchart", "dot": "digraph", "json": "{"}
    assert result.stdout.startswith(starts[form])
    assert ("experts_meta = batch" in result.stdout) == (form == "text" and bool(optimized))


def test_text_is_the_default() -> None:
    assert "input = input(width=32) <- features.user_id" in graph(QUICKSTART)[1].stdout


def test_stdin() -> None:
    code, result = graph("-", "-f", "json", text=Path(QUICKSTART).read_text())
    assert (code, json.loads(result.stdout)["name"]) == (0, "quickstart")


def test_errors_are_reported() -> None:
    code, result = graph("-", text="homespec: 1\n")
    assert (code, result.stdout) == (1, "")
    assert "error[HS" in result.stderr


def test_one_spec_at_a_time() -> None:
    with pytest.raises(click.UsageError, match="name one of them"):
        graph(str(ROOT / "specs"))
