"""The README and the pages after it do what they say: commands and programs print what is shown.

They run in the order of the pages, in one copy of the project's specs (`pages.py`).
"""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
from pages import ROOT, blocks, followed, matches, run

README = ROOT / "README.md"
PAGES = (README, ROOT / "docs/cli.md", ROOT / "docs/python.md")
"""In the order in which a reader follows them: the README writes the spec that the others use."""
MAX_WORDS = 900


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("specs", "schemas"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def test_outputs(project: Path, request: pytest.FixtureRequest) -> None:
    for path in PAGES:
        fresh = followed(path.read_text("utf-8"), project)
        if request.config.getoption("--update-golden"):
            path.write_text(fresh, "utf-8")
        assert fresh == path.read_text("utf-8"), f"{path}: accept with `make golden`, then git diff"


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").split()) < MAX_WORDS


def test_the_picture_is_what_the_compiler_says() -> None:
    script = ROOT / "docs/plots/overview.py"
    drawn = runpy.run_path(str(script))["drawing"]()
    assert drawn == script.with_name("overview.svg").read_text("utf-8"), f"run {script}"


def test_specs_validate(tmp_path: Path) -> None:
    specs = [block.text for block in blocks(README.read_text("utf-8")) if block.language == "yaml"]
    specs = [spec for spec in specs if "homespec: 1\n" in spec]
    assert specs
    for number, spec in enumerate(specs):
        (tmp_path / f"{number}.yaml").write_text(spec)
    printed = run(["homespec", "validate", "--strict", "."], tmp_path)
    assert printed.endswith("checked, nothing found\n"), printed


def test_make_targets_exist() -> None:
    said = re.findall(r"^make (\S+)", README.read_text("utf-8"), re.MULTILINE)
    assert {"demo", "test"} <= set(said)
    for target in set(said):
        dry = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=False)
        assert dry.returncode == 0, dry.stderr.decode()


def test_shell_blocks_name_real_verbs_and_options() -> None:
    text = "\n".join(b.text for b in blocks(README.read_text("utf-8")) if b.language == "sh")
    for verb, rest in re.findall(r"^homespec ([\w-]+)(.*)", text, re.MULTILINE):
        help_text = run(["homespec", verb, "--help"], ROOT)
        for option in re.findall(r"--[\w-]+", rest):
            assert option in help_text, f"homespec {verb} has no {option}"


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "b\n", False),
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("a\n...\nd\n", "a\nd\n", True),
        ("...\n", "", True),
        ("a\n...\n", "b\na\n", False),
    ],
)
def test_ellipsis(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same
