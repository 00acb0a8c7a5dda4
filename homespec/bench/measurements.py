"""Benchmark: settings and results, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from homespec.bench.compile_time import Seconds
from homespec.bench.timing import Spread, Times, ratios, spread
from homespec.bench.variants import FLOOR

REFERENCES = ("naive", "naive-compiled", FLOOR)
"""The variants that times are compared with."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure, for each of `batches` and each number of `threads`, by default torch's own.

    `keep` are the tasks of pruned variants.
    """

    batches: tuple[int, ...]
    device: str
    precisions: tuple[str, ...]
    rounds: int
    variants: tuple[str, ...]
    forward: bool = False
    compile_time: bool = False
    memory: bool = False
    inference: bool = False
    keep: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()


@dataclass(slots=True)
class Facts:
    """Facts about a variant besides its times; None if they were not requested.

    `operations` are those of aten in an eager forward and backward pass, without views; `kernels`
    those that compiled code launches for the same; `peak` is the memory of a step in bytes, above
    that in use before; `first` the seconds of the first step in this process, whose caches may be
    warm; `skipped_graphs` the number of graphs that inductor ran without a CUDA graph although
    requested; `synchronises` whether a step waits for the GPU. For a served file, `missing` is the
    missing extra of homespec, `load` the seconds of its first loading, `file` its size in bytes,
    and `weights` the part of it that is weights.
    """

    difference: float | None = None
    operations: int | None = None
    forward_operations: int | None = None
    kernels: int | None = None
    peak: int | None = None
    first: float | None = None
    compiling: dict[str, Seconds] = field(default_factory=dict)
    skipped_graphs: int | None = None
    synchronises: bool | None = None
    missing: str | None = None
    load: float | None = None
    file: int | None = None
    weights: int | None = None


@dataclass(slots=True)
class Case:
    """One precision, batch and number of threads.

    `times` holds those of `step` and, if requested, `forward`; or only those of `inference`.

    `flops` are those of the matrix products of a step; `bytes_ms` is the time that a GPU's floor
    includes for moving bytes.
    """

    tasks: int
    precision: str
    batch: int
    threads: int
    parameters: int
    flops: int
    times: dict[str, Times] = field(default_factory=dict)
    facts: dict[str, Facts] = field(default_factory=dict)
    bytes_ms: dict[str, float] = field(default_factory=dict)

    @property
    def size(self) -> str:
        """What distinguishes it from the other cases of a result."""
        return f"{self.precision}, batch {self.batch}, threads {self.threads}"

    def spreads(self, measure: str) -> dict[str, Spread]:
        """Milliseconds by variant."""
        return {name: spread(times) for name, times in self.times[measure].items()}

    def ratios(self, measure: str, reference: str) -> dict[str, Spread]:
        """Speed-up of each variant over the reference; empty if that is missing."""
        times = self.times[measure]
        return ratios(times, reference) if reference in times else {}


@dataclass(slots=True)
class Result:
    """All measurements. `complete` is False after Ctrl-C."""

    spec: str
    file: str
    seed: int
    settings: Settings
    machine: dict[str, Any]
    keeps_freed_memory: bool
    cases: list[Case] = field(default_factory=list)
    complete: bool = True

    @property
    def place(self) -> str:
        """The GPU, or the CPU and the numbers of threads."""
        counts = self.settings.threads or (self.machine["threads"],)
        threads = ", ".join(map(str, counts))
        return str(self.machine.get("gpu") or f"{self.machine['cpu']}, {threads} threads")
