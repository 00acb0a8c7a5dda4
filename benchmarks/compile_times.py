"""How long torch.compile takes against the number of tasks, without and with inductor's cache.

    python benchmarks/compile_times.py [--tasks 4,64] [--json FILE]

Measures first steps of the small size, each in processes of its own, and nothing else: `homespec
bench --compile-time` compiles everything once more to time its steps, and naive code of 64 tasks
takes minutes. Seconds are those of all processors, which other work disturbs less than the clock.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import homespec
from homespec.atomic_write import write_texts
from homespec.bench.candidates import SEED
from homespec.bench.compile_time import Job, cold_and_warm
from homespec.bench.machine import machine
from homespec.bench.scaling import scaled, text_of

SPEC = Path(__file__).parent / "specs" / "small.yaml"
VARIANTS = ("ours-compiled", "naive-compiled")
BATCH = 512


def measured(count: int, variants: tuple[str, ...]) -> dict[str, Any]:
    """First steps with this many tasks, as `homespec bench --json` has them."""
    text = text_of(scaled(homespec.load(SPEC), count))
    facts = {}
    for name in variants:
        print(f"{count} tasks, {name}", flush=True)
        job = Job(text, name, BATCH, "cpu", "float32", torch.get_num_threads())
        compiling = {cache: asdict(took) for cache, took in cold_and_warm(job).items()}
        facts[name] = {"compiling": compiling}
        print("  " + ", ".join(f"{c} {took['cpu']:.1f} s" for c, took in compiling.items()))
    return {"tasks": count, "facts": facts}


def main() -> None:
    """Measure, print, and keep the result where it was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default="4,64")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    result: dict[str, Any] = {
        "machine": machine("cpu"),
        "settings": {"batch": BATCH, "rounds": 1},
        "seed": SEED,
        "cases": [
            measured(int(count), tuple(given.variants.split(",")))
            for count in given.tasks.split(",")
        ],
    }
    if given.json:
        write_texts({given.json: json.dumps(result, indent=1) + "\n"})


if __name__ == "__main__":
    main()
