"""The tutorial does what it says: its pages are followed in order, in one folder.

A reader works next to a clone, whose part the tutorial's own program plays here. What models learn
may differ a little on another machine (`nearly` of `pages.py`).
"""

from __future__ import annotations

import re
import runpy
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from pages import ROOT, blocks, followed, nearly

TUTORIAL = ROOT / "docs" / "tutorial"
PAGES = sorted(TUTORIAL.glob("*.md"))
MAX_WORDS = 1200
IDENTITY = {"NAME": "A reader", "EMAIL": "reader@example.org"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's own, next to the clone."""
    for whose in ("AUTHOR", "COMMITTER"):
        for part, value in IDENTITY.items():
            monkeypatch.setenv(f"GIT_{whose}_{part}", value)
    for file in ("docs/tutorial/impressions.py", "examples/serving/text_ids.py"):
        path = tmp_path / "homespec" / file
        path.parent.mkdir(parents=True)
        shutil.copy(ROOT / file, path)
    own = tmp_path / "feed"
    own.mkdir()
    return own


def test_each_page_shows_what_happens(folder: Path, request: pytest.FixtureRequest) -> None:
    for path in PAGES:
        page = path.read_text("utf-8")
        fresh = followed(page, folder, nearly)
        if request.config.getoption("--update-golden"):
            path.write_text(fresh, "utf-8")
        assert fresh == path.read_text("utf-8"), f"{path}: accept with `make golden`, then git diff"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_are_short(path: Path) -> None:
    assert len(path.read_text("utf-8").split()) <= MAX_WORDS


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_command_is_run(path: Path) -> None:
    for block in blocks(path.read_text("utf-8")):
        if block.language == "sh":  # the reader's own environment
            assert re.search(r"^git clone", block.text), block.text
        else:
            assert block.language in {"console", "python", "text", "yaml"}
        if block.language == "yaml":
            assert re.match(r"# specs/\w+\.yaml\n", block.text)


def test_each_page_leads_to_the_next() -> None:
    for path, after in pairwise(PAGES):
        assert re.search(rf"^Next: .*\({after.name}\)\.$", path.read_text("utf-8"), re.M), path


def test_the_picture_is_what_the_compiler_says() -> None:
    script = TUTORIAL / "hierarchy.py"
    drawn = runpy.run_path(str(script))["drawing"]()
    assert drawn == script.with_suffix(".svg").read_text("utf-8"), f"run {script}"
