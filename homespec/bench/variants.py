"""Benchmark: the variants of a spec's code that are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from homespec.variant import Target

FLOOR = "floor"
"""Not a model: the bare matrix products of one; see `roofline`."""


Mode = Literal["default", "reduce-overhead", "fused", "fused-graphs"]
"""Modes of torch.compile, and two with its options FUSED, the second one with CUDA graphs."""

GRAPHS = ("reduce-overhead", "fused-graphs")
"""The modes with CUDA graphs."""

FUSED: dict[str, Any] = {
    "realize_reads_threshold": 40,
    "realize_acc_reads_threshold": 40,
    "realize_opcount_threshold": 1000,
    "combo_kernels": True,
}
"""Has inductor compute again what several kernels read, in place of writing it to memory, and
launch small kernels that do not wait for each other as one.

On paper that is fewer kernels and bytes on a GPU (`benchmarks/gpu_schedule.py`); on a CPU it is
slower (docs/performance.md).
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """How to build one; `optimize` and `target` as in `homespec.build`, `mode` None for eager.

    Those that are `pruned` hold the tasks of `--keep` alone, and are for inference.
    """

    name: str
    optimize: bool
    mode: Mode | None
    help: str
    target: Target = "portable"
    pruned: bool = False

    @property
    def compiled(self) -> bool:
        """Whether torch.compile is used."""
        return self.mode is not None

    @property
    def portable(self) -> bool:
        """Whether a CPU can run it as well as a GPU."""
        return self.target == "portable" and self.mode in (None, "default")


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("naive", False, None, "one module for each expert, as libraries write it"),
        Variant("naive-compiled", False, "default", "that under torch.compile"),
        Variant("ours", True, None, "what `homespec compile` writes"),
        Variant("ours-compiled", True, "default", "that under torch.compile"),
        Variant("ours-pruned", True, None, "ours with some tasks alone", pruned=True),
        Variant("ours-pruned-compiled", True, "default", "that under torch.compile", pruned=True),
        Variant("naive-graphs", False, "reduce-overhead", "naive, compiled, in CUDA graphs"),
        Variant("ours-graphs", True, "reduce-overhead", "ours, compiled, in CUDA graphs"),
        Variant("ours-fused", True, "fused", "ours, compiled with more fusion"),
        Variant("ours-fused-graphs", True, "fused-graphs", "that in CUDA graphs"),
        Variant("ours-triton", True, "default", "ours for CUDA, compiled", "cuda"),
        Variant("ours-triton-graphs", True, "reduce-overhead", "that in CUDA graphs", "cuda"),
    )
}
"""All variants by name; the last six are for GPUs only, the pruned ones for inference."""


def names_for(device: str, pruned: bool = False) -> list[str]:
    """The variants that a device can run, the floor last; `pruned`: with tasks to keep."""
    able = [v for v in VARIANTS.values() if device == "cuda" or v.portable]
    return [*(v.name for v in able if pruned or not v.pruned), FLOOR]
