"""Follows pages of the docs: runs what they say to run, and compares what they show.

Fenced blocks run in the order of a page, in one folder: `yaml` blocks that start with `# PATH` are
written to that path; `console` blocks hold commands after `$ ` and their output, where a line `...`
is any number of lines; a `text` block right after a `python` block is what that program prints.
`sh` blocks are not run.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY_LINES = re.compile(r"^\.\.\.\n", re.MULTILINE)
VARIES = re.compile(
    r"(?P<speed>\d[\d,]* rows/s)|(?P<seconds>\b\d[\d.]* s\b)"
    r"|(?P<decimal>[-+]?\d[\d,]*(?:\.\d+(?:e[-+]\d+)?|e[-+]\d+))|(?P<gap> +)|(?P<rule>─+)"
)
"""What another machine prints otherwise: times, and the last digits of what it learns."""
PATTERNS = {
    "speed": r"\d[\d,]* rows/s",
    "seconds": r"\b\d[\d.]* s\b",
    "decimal": r"([-+]?\d[\d,]*(?:\.\d+(?:e[-+]\d+)?|e[-+]\d+))",
    "gap": " +",
    "rule": "─+",
}
Same = Callable[[str, str], bool]


class Block(NamedTuple):
    """A fenced block, and where its text is in the page."""

    language: str
    text: str
    start: int
    end: int


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page."""
    return [Block(m[1], m[2], m.start(2), m.end(2)) for m in FENCE.finditer(page)]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the output shown."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command += f"\n{more}"
        yield command, output


def stripped(text: str) -> str:
    """The text without blanks at the ends of lines, which cannot be seen and editors remove."""
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def matches(shown: str, printed: str) -> bool:
    """Whether a command printed the text shown."""
    parts = [re.escape(part) for part in ANY_LINES.split(shown)]
    return re.fullmatch(r"(?:.*\n)*".join(parts), printed) is not None


def nearly(shown: str, printed: str) -> bool:
    """The same for what was trained: speeds may differ, and decimals by .02 or 3 %."""
    pattern, numbers = [], []
    for part in ANY_LINES.split(shown):
        text, at = "", 0
        for match in VARIES.finditer(part):
            kind = match.lastgroup or ""
            text += re.escape(part[at : match.start()]) + PATTERNS[kind]
            numbers += [match.group()] if kind == "decimal" else []
            at = match.end()
        pattern.append(text + re.escape(part[at:]))
    found = re.fullmatch(r"(?:.*\n)*?".join(pattern), printed)
    return found is not None and all(map(_near, numbers, found.groups()))


def _near(shown: str, printed: str) -> bool:
    both = (float(text.replace(",", "")) for text in (shown, printed))
    return math.isclose(*both, rel_tol=0.03, abs_tol=0.02)


def run(command: list[str], folder: Path, environment: Mapping[str, str] = {}) -> str:
    """What a command prints, to both streams, in the order in which it does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
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


def console(text: str, folder: Path, same: Same = matches) -> str:
    """A console block with the output that its commands have now."""
    parts = []
    for command, shown in commands(text):
        printed = stripped(run(["bash", "-c", command], folder))
        parts.append(f"$ {command}\n{shown if same(shown, printed) else printed}")
    return "".join(parts)


def followed(page: str, folder: Path, same: Same = matches) -> str:
    """The page after doing all that it says, with the outputs that came of it."""
    fresh, at, printed = "", 0, None
    for block in blocks(page):
        text = block.text
        if block.language == "console":
            text = console(text, folder, same)
        elif block.language == "text" and printed is not None:
            text = text if same(text, stripped(printed)) else stripped(printed)
        elif block.language == "yaml" and (named := re.match(r"# (\S+\.yaml)\n", text)):
            (folder / named[1]).write_text(text)
        printed = run([sys.executable, "-c", text], folder) if block.language == "python" else None
        assert "Traceback" not in (printed or ""), printed
        fresh += page[at : block.start] + text
        at = block.end
    return fresh + page[at:]
