"""The README and the pages after it do what they say: commands and programs print what is shown.

Fenced blocks run in the order of the pages, in one copy of the project's specs: `yaml` blocks that
start with `# PATH` are written to that path; `console` blocks hold commands after `$ ` and their
output, where a line `...` stands for any lines; a `text` block right after a `python` block is what
that program prints. `sh` blocks are not run: they train or set up.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = (README, ROOT / "docs/cli.md", ROOT / "docs/python.md")
"""In the order in which a reader follows them: the README writes the spec that the others use."""
MAX_WORDS = 900
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    text: str
    start: int
    end: int


def blocks(page: str) -> list[Block]:
    return [Block(m[1], m[2], m.start(2), m.end(2)) for m in FENCE.finditer(page)]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the output shown."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def stripped(text: str) -> str:
    """The text without blanks at the ends of lines, which cannot be seen and editors remove."""
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def matches(shown: str, printed: str) -> bool:
    parts = [re.escape(part) for part in re.split(r"^\.\.\.\n", shown, flags=re.MULTILINE)]
    return re.fullmatch(r"(?:.*\n)*".join(parts), printed) is not None


def run(command: list[str], folder: Path) -> str:
    """What a command prints, to both streams, in the order in which it does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    ).stdout


def console(text: str, folder: Path) -> str:
    """A console block with the output that its commands have now."""
    parts = []
    for command, shown in commands(text):
        printed = stripped(run(["bash", "-c", command], folder))
        parts.append(f"$ {command}\n{shown if matches(shown, printed) else printed}")
    return "".join(parts)


def followed(page: str, folder: Path) -> str:
    """The page after doing all that it says, with the outputs that came of it."""
    fresh, at, printed = "", 0, None
    for block in blocks(page):
        text = block.text
        if block.language == "console":
            text = console(text, folder)
        elif block.language == "text" and printed is not None:
            text = stripped(printed)
        elif block.language == "yaml" and (named := re.match(r"# (\S+\.yaml)\n", text)):
            (folder / named[1]).write_text(text)
        printed = run([sys.executable, "-c", text], folder) if block.language == "python" else None
        assert "Traceback" not in (printed or ""), printed
        fresh += page[at : block.start] + text
        at = block.end
    return fresh + page[at:]


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
