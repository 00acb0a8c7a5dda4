"""What inductor would launch on a GPU: benchmarks/gpu_schedule.py, which needs Triton alone."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
COUNT = """
import json
from dataclasses import asdict
import homespec
from gpu_schedule import scaled, schedule_of
from lab import SPECS

spec = homespec.load(SPECS / "small.yaml")
print(json.dumps([asdict(schedule_of(scaled(spec, tasks), True, 64)) for tasks in (4, 8)]))
"""


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or not torch.__version__.startswith("2.13"),
    reason="needs triton (tests/interpreted) and the torch whose internals it calls",
)
def test_launches_are_as_many_for_twice_the_tasks() -> None:
    """A process of its own, since Triton is told of a GPU there."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT],
        cwd=ROOT / "benchmarks", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    few, many = json.loads(done.stdout.splitlines()[-1])
    assert few["products"] == many["products"] == 28
    assert abs(few["kernels"] - many["kernels"]) <= 2  # a sum is split or not by its size
    assert few["kernels"] < 70
    assert few["kernel_bytes"] < many["kernel_bytes"] < 2.5 * few["kernel_bytes"]
