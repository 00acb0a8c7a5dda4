"""`homespec show`: tables, JSON, and the spec in full."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from homespec import load
from homespec.analysis.summary import summarise
from homespec.cli.main import cli
from homespec.cli.show_tables import NARROWEST, tables

ROOT = Path(__file__).parents[2]
NESTED = str(ROOT / "specs" / "nested.yaml")


def show(*args: str, text: str | None = None) -> tuple[int, Result]:
    result = CliRunner().invoke(cli, ["show", *args], input=text, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, result


def test_tables(golden: Callable[[Path, str], None]) -> None:
    code, result = show(NESTED)
    assert (code, result.stderr) == (0, "")
    golden(Path(__file__).parent / "show.nested.out", result.stdout)


def words(text: str) -> list[str]:
    return sorted(re.findall(r"\w+", text))


def test_nothing_is_cut_off() -> None:
    """Narrow tables fold their cells; the same characters are there."""
    summary = summarise(load(NESTED).analysis)
    wide = tables(summary, color=False, width=400)
    narrow = tables(summary, color=False, width=80)
    assert max(map(len, narrow.splitlines())) <= NARROWEST
    assert words(narrow) == words(wide)
    assert "\x1b[" not in wide
    assert "\x1b[" in tables(summary, color=True, width=80)


def test_markup_is_text(tmp_path: Path) -> None:
    spec = (
        "homespec: 1\nname: x\ndescription: 'a [bold]word[/] :smile:'\n"
        "features: {a: {dense: 4, column: 'b[red]'}}\n"
        "groups: {g: [t, u]}\ntasks: {t: {}, u: {}}\n"
    )
    (tmp_path / "x.yaml").write_text(spec)
    text = show(str(tmp_path / "x.yaml"))[1].stdout
    assert "a [bold]word[/] :smile:" in text
    assert "a (b[red])" in text


def test_json() -> None:
    code, result = show(NESTED, "--format", "json")
    data = json.loads(result.stdout)
    assert code == 0
    assert data["name"] == "nested"
    assert [layer["name"] for layer in data["layers"]] == ["meta", "meta2", "task"]
    first = data["layers"][0]["sets"][0]
    assert (first["node"], first["count"], first["reads"]) == ("shared", 3, "v")
    assert data["total"] == {
        key: sum(part[key] for part in data["parts"].values()) for key in ("parameters", "flops")
    }


def test_expanded_is_a_spec() -> None:
    code, result = show(NESTED, "--expanded")
    assert code == 0
    again, shown = show("-", text=result.stdout)
    assert again == 0
    free, family = shown.stdout.splitlines(), show(NESTED)[1].stdout.splitlines()
    assert free[0] == family[0].replace("HoME", "Free topology")
    assert free[1:] == family[1:]


def test_errors_are_reported(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("homespec: 1\n")
    for options in ([], ["--expanded"], ["--format", "json"]):
        code, result = show(str(tmp_path / "bad.yaml"), *options)
        assert (code, result.stdout) == (1, "")
        assert "error[HS" in result.stderr


def test_usage() -> None:
    with pytest.raises(click.UsageError, match="leave out --format json"):
        show(NESTED, "--expanded", "--format", "json")
    with pytest.raises(click.UsageError, match="name one of them"):
        show(str(ROOT / "specs"))
