"""All that waits for a GPU, in one command: the tests that need one, then the aims for an H100.

    pip install pytest pytest-timeout hypothesis
    python benchmarks/gpu.py [--out benchmarks/results/gpu] [--only small]

Runs `tests/test_gpu.py`, then `homespec bench` in bf16 at the three sizes, at one of them with
Triton's kernels as well. What has been measured is kept in a file for each, and not measured again:
a run that was stopped continues with the next size. Prints a line for each aim, and exits with 1 if
one is missed or a test fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
PLAIN = ("naive", "naive-graphs")
OURS = ("ours-graphs", "ours-fused-graphs")
TESTS = ("-m", "pytest", "-q", "tests/test_gpu.py")


@dataclass(frozen=True, slots=True)
class Size:
    """A size with its aims: how many times as fast as a reference, and so as the floor."""

    name: str
    spec: str
    options: tuple[str, ...]
    aims: dict[str, float]
    ours: tuple[str, ...] = OURS
    tasks: int | None = None
    """Those that the spec is scaled to."""


PUBLIC = {"naive": 8.0, "naive-graphs": 2.0}
SIZES = (
    Size("public", "public", ("--batch", "2048"), PUBLIC),
    Size("small", "small", ("--batch", "2048"), {"naive": 30, "naive-graphs": 6}, tasks=64),
    Size(
        "industrial",
        "industrial",
        ("--batch", "4096"),
        {"naive": 3, "naive-graphs": 1.15, "floor": 1 / 2.5},
    ),
    # By themselves: were a kernel wrong, `bench` would measure nothing of its run.
    Size("triton", "public", ("--batch", "2048"), PUBLIC, ("ours-triton", "ours-triton-graphs")),
)


def command(size: Size, file: Path) -> list[str]:
    """How to measure a size."""
    verb = ["-m", "homespec", "bench"]
    if size.tasks:
        verb = ["benchmarks/scaling.py", "--tasks", str(size.tasks)]
    return [
        sys.executable, *verb, f"benchmarks/specs/{size.spec}.yaml",
        "--device", "cuda", "--precision", "bf16", "--memory", *size.options,
        "--variants", ",".join((*PLAIN, *size.ours, "floor")), "--json", str(file.resolve()),
    ]  # fmt: skip


def measured(file: Path) -> bool:
    """Whether the file has a whole measurement: Ctrl-C leaves a part of one."""
    return file.exists() and bool(json.loads(file.read_text("utf-8"))["complete"])


def verdicts(size: Size, result: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """Checks the fastest variant of ours: each aim, whether it is reached, and what must not happen
    in a step.

    `result` is what `homespec bench --json` wrote.
    """
    case = result["cases"][-1]
    ratios, facts = case["times_as_fast"]["step"], case["facts"]
    best = min(size.ours, key=lambda name: case["milliseconds"]["step"][name]["median"])
    for reference, aim in size.aims.items():
        ratio = ratios[reference][best]["median"]
        text = f"{size.name}: {best} is {ratio:.2f} × as fast as {reference}, aim {aim:.3g}"
        yield ratio >= aim, text
    for name in size.ours:
        skipped, waits = facts[name]["skipped_graphs"], facts[name]["synchronises"]
        yield not skipped, f"{size.name}: {name} ran {skipped} graphs without CUDA graphs"
        yield not waits, f"{size.name}: a step of {name} {'waits' if waits else 'never waits'}"


def reached(size: Size, file: Path) -> bool:
    """Measure a size unless that is done, and print what came of its aims."""
    if not measured(file):
        ran(command(size, file))
    if not measured(file):
        print(f"{size.name}: not measured")
        return False
    judged = list(verdicts(size, json.loads(file.read_text("utf-8"))))
    for good, text in judged:
        print(f"{'reached' if good else 'MISSED':8}{text}")
    return all(good for good, _ in judged)


def ran(arguments: list[str]) -> bool:
    """Run a command of ours; whether it succeeded."""
    return subprocess.run(arguments, cwd=ROOT, check=False).returncode == 0  # noqa: S603  # our own


def main() -> int:
    """Run everything; 1 if a test fails, a measurement breaks off or an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu")
    parser.add_argument("--only", choices=["tests", *(size.name for size in SIZES)])
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no GPU here", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    good = options.only not in (None, "tests") or ran([sys.executable, *TESTS])
    for size in SIZES:
        if options.only in (None, size.name):
            good = reached(size, options.out / f"{size.name}.json") and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
