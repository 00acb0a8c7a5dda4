"""Benchmark: the variants of a spec's code to compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from homespec.variant import Target

FLOOR = "floor"
"""The bare matrix products of a model; see `roofline`."""

Mode = Literal["default", "reduce-overhead", "fused", "fused-graphs"]
"""Modes of torch.compile, and two with the options FUSED, the second of them with CUDA graphs."""

Served = Literal["aotinductor", "onnxruntime"]
"""The programs that run files of `homespec export`."""

GRAPHS = ("reduce-overhead", "fused-graphs")
"""The modes with CUDA graphs."""

FUSED: dict[str, Any] = {
    "realize_reads_threshold": 40,
    "realize_acc_reads_threshold": 40,
    "realize_opcount_threshold": 1000,
    "combo_kernels": True,
}
"""Makes inductor recompute values that several kernels read instead of storing them, and combine
small independent kernels into one.

In theory, this means fewer kernels and bytes on a GPU (`benchmarks/gpu_schedule.py`); on a CPU it
is slower (docs/performance/tried.md).
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """How to build a variant; `optimize` and `target` as in `homespec.build`, `mode` None if eager.

    Variants that are `pruned` have only the tasks of `--keep`. Variants that are `served` are files
    of `homespec export`.
    """

    optimize: bool
    mode: Mode | None = None
    target: Target = "portable"
    pruned: bool = False
    served: Served | None = None

    @property
    def compiled(self) -> bool:
        """Whether it uses inductor, and so a C++ compiler."""
        return self.mode is not None or self.served == "aotinductor"

    @property
    def inference_only(self) -> bool:
        """Whether it cannot be trained."""
        return self.pruned or self.served is not None

    @property
    def portable(self) -> bool:
        """Whether it runs on a CPU as well as on a GPU."""
        return self.target == "portable" and self.mode in (None, "default")

    def runs(self, device: str, inference: bool, pruned: bool) -> bool:
        """Whether it runs on a device; `pruned` means that there are tasks to keep."""
        if self.served == "onnxruntime" and device != "cpu":
            return False
        fits = device == "cuda" or self.portable
        return fits and (inference or not self.inference_only) and (pruned or not self.pruned)


VARIANTS = {
    "naive": Variant(optimize=False),
    "naive-compiled": Variant(optimize=False, mode="default"),
    "ours": Variant(optimize=True),
    "ours-compiled": Variant(optimize=True, mode="default"),
    "ours-pruned": Variant(optimize=True, pruned=True),
    "ours-pruned-compiled": Variant(optimize=True, mode="default", pruned=True),
    "ours-aotinductor": Variant(optimize=True, served="aotinductor"),
    "ours-onnxruntime": Variant(optimize=True, served="onnxruntime"),
    "naive-graphs": Variant(optimize=False, mode="reduce-overhead"),
    "ours-graphs": Variant(optimize=True, mode="reduce-overhead"),
    "ours-fused": Variant(optimize=True, mode="fused"),
    "ours-fused-graphs": Variant(optimize=True, mode="fused-graphs"),
    "ours-triton": Variant(optimize=True, mode="default", target="cuda"),
    "ours-triton-graphs": Variant(optimize=True, mode="reduce-overhead", target="cuda"),
}
"""`naive` has one module for each expert, as libraries do; `ours` is what `homespec compile`
writes. The last six are only for GPUs; pruned and exported variants are only for inference."""


def names_for(device: str, inference: bool = False, pruned: bool = False) -> list[str]:
    """The variants that a device supports, the floor last; `pruned` if there are tasks to keep."""
    runs = (name for name, each in VARIANTS.items() if each.runs(device, inference, pruned))
    return [*runs, FLOOR]
