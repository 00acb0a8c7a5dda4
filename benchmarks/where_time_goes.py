"""The shares of a compiled training step's time on a CPU, by size.

    python benchmarks/where_time_goes.py [--sizes public "public, bf16"] [--json FILE]
    python benchmarks/where_time_goes.py --sizes "mmoe, 4 tasks" "ple, 4 tasks"

Profiles of ours under torch.compile: the products, the loops that inductor generated, named by
their part of the model, and the rest, which is Python. Profiling adds a little to each kernel, so
small sizes look more scattered than they are.
"""

from __future__ import annotations

from collections import defaultdict

import lab
import torch._inductor.config
from peer_libraries import EXPERTS, Case
from peers import MMOE_EXPERTS, our_spec
from torch.profiler import ProfilerActivity, profile

import homespec
from homespec.api import LoadedSpec
from homespec.bench.candidates import SEED, build, weights_of
from homespec.bench.machine import keep_freed_memory

STEPS = 10

PARTS = (
    ("sigmoid_backward", "feature gates, backward"),
    ("silu backward", "batch norm, Swish and mixtures, backward"),
    ("var_mean", "batch norm and Swish, statistics and forward"),
    ("silu", "batch norm, Swish and mixtures, forward"),
    ("cross_entropy", "losses and towers"),
    ("sigmoid", "feature gates, forward"),
    ("threshold_backward", "ReLU of experts and towers, backward"),
    ("softmax_backward", "gates, backward"),
    ("softmax", "gates, and ReLU and mixtures with them"),
    ("relu", "ReLU of experts and towers"),
    ("div_mul_sub_sum", "batch norm, Swish and mixtures, backward"),
)
"""Words that the name of a generated kernel holds, and what it then is; the first that fits."""


SIZES = {
    "small, 4 tasks": ("small", 512, "float32"),
    "public": ("public", 2048, "float32"),
    "public, bf16": ("public", 2048, "bf16"),
    "industrial": ("industrial", 512, "float32"),
    "industrial, bf16": ("industrial", 512, "bf16"),
}
"""By name: the spec, the batch and the precision."""

PEERS = {
    f"{family}, {count} tasks": Case(family, tuple(f"t{i}" for i in range(count)), shared)
    for family, shared in (("mmoe", MMOE_EXPERTS), ("ple", EXPERTS))
    for count in (4, 16)
}
"""By name: the models of `peers.py`, all at batch 512 in float32."""


def part_of(event: str) -> str:
    """What a profiler's event belongs to."""
    if "cpp_fused" in event:
        fits = (part for words, part in PARTS if all(word in event for word in words.split()))
        return next(fits, "other generated loops")
    if event in ("aten::bmm", "aten::mm", "aten::addmm", "aten::baddbmm"):
        return "matrix products"
    return "Adam" if "adam" in event.lower() else "Python, dispatch, copies"


def case_of(name: str) -> tuple[LoadedSpec, int, str]:
    """The spec, batch and precision of a size."""
    if name in PEERS:
        return our_spec(PEERS[name]), 512, "float32"
    file, batch, precision = SIZES[name]
    return homespec.load(lab.SPECS / f"{file}.yaml"), batch, precision


def shares(spec: LoadedSpec, batch: int, precision: str) -> dict[str, float]:
    """The shares of a step's time by part, greatest first."""
    torch._inductor.config.cpp.enable_kernel_profile = True
    keep_freed_memory()
    step = build(spec, "ours-compiled", weights_of(spec), batch, "cpu", precision).step
    for _ in range(3):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(STEPS):
            step()
    microseconds: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        microseconds[part_of(event.key)] += event.self_cpu_time_total
    total = sum(microseconds.values())
    parts = sorted(microseconds.items(), key=lambda item: -item[1])
    return {part: took / total for part, took in parts}


def main() -> None:
    """Measure, print, and keep the result where it was asked for."""
    parser = lab.parser(__doc__)
    parser.add_argument("--sizes", nargs="+", choices=[*SIZES, *PEERS], default=list(SIZES))
    given = parser.parse_args()
    of_sizes = {}
    for name in given.sizes:
        torch.compiler.reset()
        of_sizes[name] = shares(*case_of(name))
        print(name, flush=True)
        for part, share in of_sizes[name].items():
            print(f"  {share:4.0%}  {part}", flush=True)
    lab.write(given.json, settings={"rounds": STEPS}, seed=SEED, shares=of_sizes)


if __name__ == "__main__":
    main()
