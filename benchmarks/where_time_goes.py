"""Where the time of a compiled training step goes on a CPU, as a table of shares.

    python benchmarks/where_time_goes.py SPEC [--batch N] [--precision bf16]

A profile of ours under torch.compile: the products, the loops that inductor generated, named by
what they are part of, and what is left for Python. Profiling adds a little to each kernel, so small
sizes look more scattered than they are.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator

import torch._inductor.config
from torch.profiler import ProfilerActivity, profile

import homespec
from homespec.bench.memory import keep_freed_memory
from homespec.bench.trainees import build, weights_of

STEPS = 10
LEAST = 0.01
"""Smaller shares are added up."""

PARTS = (
    ("silu_backward", "batch norm, Swish and mixtures, backward"),
    ("rsub", "batch norm, Swish and mixtures, backward"),
    ("var_mean", "batch norm and Swish, statistics and forward"),
    ("silu", "batch norm, Swish and mixtures, forward"),
    ("sigmoid_backward", "feature gates, backward"),
    ("cross_entropy", "losses and towers"),
    ("sigmoid", "feature gates, forward"),
    ("threshold_backward", "hidden layers of experts, ReLU backward"),
    ("relu", "hidden layers of experts, ReLU"),
    ("softmax", "gates"),
)
"""What the name of a generated kernel holds, and what it then is; the first that fits."""


def part_of(event: str) -> str:
    """What a profiler's event belongs to."""
    if "cpp_fused" in event:
        return next((part for word, part in PARTS if word in event), "other generated loops")
    if event in ("aten::bmm", "aten::mm", "aten::addmm", "aten::baddbmm"):
        return "matrix products"
    return "Adam" if "adam" in event.lower() else "Python, dispatch, copies"


def shares(path: str, batch: int, precision: str) -> dict[str, float]:
    """Of the time of a step, by part, the greatest first."""
    spec = homespec.load(path)
    torch._inductor.config.cpp.enable_kernel_profile = True
    keep_freed_memory()
    step = build(spec, "ours-compiled", weights_of(spec), batch, "cpu", precision).trainee.step
    for _ in range(3):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(STEPS):
            step()
    found: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        found[part_of(event.key)] += event.self_cpu_time_total
    total = sum(found.values())
    return {part: took / total for part, took in sorted(found.items(), key=lambda x: -x[1])}


def table(found: dict[str, float]) -> Iterator[str]:
    """Lines of markdown."""
    yield "| part of the step | share |"
    yield "| --- | ---: |"
    for part, share in found.items():
        if share >= LEAST:
            yield f"| {part} | {share:.0%} |"
    yield f"| less than {LEAST:.0%} each | {sum(s for s in found.values() if s < LEAST):.0%} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    given = parser.parse_args()
    print(*table(shares(given.spec, given.batch, given.precision)), sep="\n")


if __name__ == "__main__":
    main()
