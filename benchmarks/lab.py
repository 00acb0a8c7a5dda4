"""What the scripts of this folder share: their command lines, and their results as JSON."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from homespec.atomic_write import write_texts
from homespec.bench import report
from homespec.bench.machine import machine
from homespec.bench.timing import Spread

for name, level in (("KINETO_LOG_LEVEL", "99"), ("TORCH_CPP_LOG_LEVEL", "ERROR")):
    os.environ.setdefault(name, level)  # torch's profiler would log its own work

SPECS = Path(__file__).parent / "specs"
NUMBER = re.compile(rf"[*+-]*\d|{report.NONE}$")
BLOCK = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
RESULTS = Path(__file__).parent / "results"


def parser(doc: str) -> argparse.ArgumentParser:
    """Described by the first line of a script's docstring; with `--json` for the result."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0], allow_abbrev=False)
    made.add_argument("--json", type=Path, help="write all numbers here")
    return made


def integers(text: str) -> list[int]:
    """The numbers of `4,8,16`."""
    return [int(word) for word in text.split(",")]


def batches(settings: dict[str, Any]) -> str:
    """Those that a result is of; of one that was kept before `bench` could measure several: one."""
    return ", ".join(map(str, settings.get("batches") or [settings["batch"]]))


def write(path: Path | None, **content: Any) -> None:
    """Write a result with the machine that it is of, if a file is given."""
    if path:
        write_texts({path: json.dumps({"machine": machine("cpu"), **content}, indent=1) + "\n"})


def rounded(times: dict[str, list[float]]) -> dict[str, list[float]]:
    """Milliseconds to a tenth of a microsecond, which keeps files of many calls small."""
    return {name: [round(each, 4) for each in taken] for name, taken in times.items()}


def table(head: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    """A table in Markdown; columns of numbers are aligned to the right."""
    cells = list(rows)
    columns = zip(*cells, strict=True)
    aligned = ["---:" if all(map(NUMBER.match, column)) else "---" for column in columns]
    for line in (head, aligned, *cells):
        yield f"| {' | '.join(line)} |"


def filled(page: Path, blocks: dict[str, Iterable[str]]) -> str:
    """A page with new lines between `<!-- results: NAME -->` and `<!-- end -->`."""

    def block(match: re.Match[str]) -> str:
        return match[1] + "\n".join([*blocks[match[2]], ""]) + match[3]

    return BLOCK.sub(block, page.read_text(encoding="utf-8"))


def shown(spread: dict[str, float]) -> str:
    """A median with its quartiles, as they are in JSON."""
    return report.shown(Spread(**spread))
