"""Benchmark: how long the first step of a compiled variant takes, in processes of their own.

Cold: inductor's cache is an empty folder. Warm: a second process finds there what the first one
left. Both are what a user waits for: tracing, generating, the C++ compiler, one step, and the
import of the compiler itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """What a process compiles: a spec as text, and how."""

    spec: str
    variant: str
    rows: int
    device: str
    precision: str
    threads: int


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of the first step: by the clock, and of all processors, the C++ compiler's included."""

    wall: float
    cpu: float


def cold_and_warm(job: Job) -> dict[str, Seconds]:
    """The first step with an empty cache, under `cold`, and with a filled one, under `warm`."""
    with tempfile.TemporaryDirectory(prefix="homespec-bench-") as cache:
        return {name: _in_a_process(job, cache) for name in ("cold", "warm")}


def _in_a_process(job: Job, cache: str) -> Seconds:
    command = [sys.executable, "-m", "homespec.bench.compile_time"]
    caches = {"TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": os.path.join(cache, "triton")}  # noqa: PTH118
    done = subprocess.run(  # noqa: S603  # our own module
        command,
        input=json.dumps(asdict(job)),
        env={**os.environ, **caches},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return Seconds(**json.loads(done.stdout.splitlines()[-1]))


def _first_step(job: Job) -> Seconds:
    import torch

    from homespec.api import loads
    from homespec.bench.candidates import build, weights_of

    torch.set_num_threads(job.threads)
    spec = loads(job.spec)
    built = build(spec, job.variant, weights_of(spec), job.rows, job.device, job.precision)
    started, used = time.perf_counter(), _processor_seconds()
    built.candidate.step()
    if job.device == "cuda":
        torch.cuda.synchronize()
    return Seconds(time.perf_counter() - started, _processor_seconds() - used)


def _processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    print(json.dumps(asdict(_first_step(Job(**json.load(sys.stdin))))))
