"""Benchmark: the time of a compiled variant's first step, measured in separate processes.

Cold: inductor's cache is an empty folder. Warm: a second process uses the cache of the first. Both
include everything that you wait for: tracing, code generation, the C++ compiler, one step, and the
import of the compiler itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from homespec.analysis.yaml_writer import flow

if TYPE_CHECKING:
    from homespec.api import LoadedSpec


@dataclass(frozen=True, slots=True)
class Job:
    """What a process compiles: the text of a spec, and options."""

    spec: str
    variant: str
    rows: int
    device: str
    precision: str
    threads: int


@dataclass(frozen=True, slots=True)
class Seconds:
    """Times of the first step: wall clock, and all processors, including the C++ compiler."""

    wall: float
    cpu: float


def spec_text(spec: LoadedSpec) -> str:
    """The spec as one YAML text, with bases and `--set` flags merged."""
    document = spec.analysis.document
    assert document.data is not None
    return as_yaml({key: value for key, value in document.data.items() if key != "extends"})


def as_yaml(data: Mapping[str, Any]) -> str:
    """A line for each key."""
    return "".join(f"{key}: {flow(value)}\n" for key, value in data.items())


def cold_and_warm(job: Job) -> dict[str, Seconds]:
    """The first step with an empty cache, under `cold`, and with a filled one, under `warm`."""
    with tempfile.TemporaryDirectory(prefix="homespec-bench-") as cache:
        return {name: _in_a_process(job, cache) for name in ("cold", "warm")}


def _in_a_process(job: Job, cache: str) -> Seconds:
    caches = {"TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": f"{cache}/triton"}
    done = subprocess.run(  # this module
        [sys.executable, "-m", "homespec.bench.compile_time"],
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
    model = build(spec, job.variant, weights_of(spec), job.rows, job.device, job.precision)
    started, used = time.perf_counter(), _processor_seconds()
    model.step()
    if job.device == "cuda":
        torch.cuda.synchronize()
    return Seconds(time.perf_counter() - started, _processor_seconds() - used)


def _processor_seconds() -> float:
    """Processor time of this process and of its finished children."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    print(json.dumps(asdict(_first_step(Job(**json.load(sys.stdin))))))
