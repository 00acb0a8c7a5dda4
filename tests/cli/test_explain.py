"""`homespec explain`: a rule by code or name, or all of them."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from homespec.catalogue import all_rules
from homespec.cli.main import cli


def explain(*args: str) -> str:
    return CliRunner().invoke(cli, ["explain", *args], catch_exceptions=False).stdout


@pytest.mark.parametrize("word", ["HS007", "hs007", "duplicate-key", "duplicate_key"])
def test_by_code_or_name(word: str) -> None:
    text = explain(word)
    assert text.startswith("error[HS007] duplicate-key\n\nA key occurs twice")
    assert "watch: [long_view]" in text


def test_all() -> None:
    lines = explain("--all").splitlines()
    assert len(lines) == len(all_rules())
    assert lines == sorted(lines)
    assert lines[6].split()[:3] == ["HS007", "error", "duplicate-key"]
