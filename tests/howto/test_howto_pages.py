"""The how-to pages do what they say: their commands and programs run, and print what is shown.

Each page starts with what it names: `specs/shorts.yaml` of the README, rows in `prepared`, and a
trained model in `runs/shorts`. What models learn may differ a little on another machine.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import shorts_rows
from pages import ROOT, blocks, console, nearly, run, stripped

HOWTO = ROOT / "docs" / "howto"
RUN = ("add-a-task", "approve-a-change", "dead-expert", "own-loop")
"""Pages that need nothing but homespec."""
PACKAGES = {"optuna": "optuna", "loggers": "mlflow", "accelerate": "accelerate"}
"""Page -> the package that it is about, which no extra of homespec installs."""
NEEDS = re.compile(r"# needs: (\w+)\n")
BETWEEN = "\x1e"
TRAIN = "train specs/shorts.yaml --data prepared --batch-size 256 --no-compile"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every page starts with."""
    folder = tmp_path_factory.mktemp("howto")
    readme = (ROOT / "README.md").read_text("utf-8")
    (text,) = (b.text for b in blocks(readme) if b.text.startswith("# specs/shorts.yaml\n"))
    (folder / "specs").mkdir()
    (folder / "specs" / "shorts.yaml").write_text(text)
    shorts_rows.write(folder / "prepared")
    run([sys.executable, "-m", "homespec", *TRAIN.split()], folder)
    assert (folder / "runs" / "shorts" / "model.safetensors").is_file()
    return folder


@pytest.fixture
def folder(started: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for whose in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{whose}_NAME", "A reader")
        monkeypatch.setenv(f"GIT_{whose}_EMAIL", "reader@example.org")
    return Path(shutil.copytree(started, tmp_path / "own"))


def programs(page: str, folder: Path) -> Iterator[str]:
    """What each Python block prints; they run as one program, without those of missing packages."""
    texts = [block.text for block in blocks(page) if block.language == "python"]
    missing = [(m := NEEDS.match(t)) and not importlib.util.find_spec(m[1]) for t in texts]
    kept = ["" if gone else text for text, gone in zip(texts, missing, strict=True)]
    (folder / "page.py").write_text(f'print("{BETWEEN}", end="")\n'.join(kept))
    printed = run([sys.executable, "-W", "ignore", "page.py"], folder)
    assert "Traceback" not in printed, printed
    yield from printed.split(BETWEEN)


def followed(page: str, folder: Path) -> str:
    """The page after doing all that it says, with the outputs that came of it."""
    fresh, at, printed, outputs = "", 0, None, None
    for block in blocks(page):
        text = block.text
        if block.language == "console":
            text = console(text, folder, nearly)
        elif block.language == "text" and printed is not None:
            text = text if nearly(text, stripped(printed)) else stripped(printed)
        elif block.language == "yaml" and (named := re.match(r"# (\S+\.yaml)\n", text)):
            (folder / named[1]).write_text(text)
        printed = None
        if block.language == "python":
            outputs = outputs or programs(page, folder)
            printed = next(outputs)
        fresh += page[at : block.start] + text
        at = block.end
    return fresh + page[at:]


@pytest.mark.parametrize("name", [*RUN, *PACKAGES])
def test_a_page_shows_what_happens(name: str, folder: Path, request: pytest.FixtureRequest) -> None:
    pytest.importorskip(PACKAGES.get(name, "homespec"))
    path = HOWTO / f"{name}.md"
    page = path.read_text("utf-8")
    fresh = followed(page, folder)
    if request.config.getoption("--update-golden"):
        path.write_text(fresh, "utf-8")
    assert fresh == path.read_text("utf-8"), f"{path}: accept with `make golden`, then git diff"
