"""The page on promises does what it says, as the README does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_readme import ROOT, followed

PAGE = ROOT / "docs" / "promises.md"


def test_outputs(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    fresh = followed(PAGE.read_text("utf-8"), tmp_path)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(fresh, "utf-8")
    assert fresh == PAGE.read_text("utf-8"), "accept with `make golden`, then read git diff"
