"""Benchmark: the variants of a spec's code that are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from homespec.variant import Target

FLOOR = "floor"
"""Not a model: the bare matrix products of one; see `floor`."""


@dataclass(frozen=True, slots=True)
class Variant:
    """How to build one.

    `optimize` and `target` as in `homespec.build`; `mode` is that of torch.compile, None for eager.
    """

    name: str
    optimize: bool
    mode: Literal["default", "reduce-overhead"] | None
    help: str
    target: Target = "portable"

    @property
    def compiled(self) -> bool:
        """Whether torch.compile is used."""
        return self.mode is not None


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("naive", False, None, "one module for each expert, as libraries write it"),
        Variant("naive-compiled", False, "default", "that under torch.compile"),
        Variant("ours", True, None, "what `homespec compile` writes"),
        Variant("ours-compiled", True, "default", "that under torch.compile"),
        Variant("naive-graphs", False, "reduce-overhead", "naive, compiled, in CUDA graphs"),
        Variant("ours-graphs", True, "reduce-overhead", "ours, compiled, in CUDA graphs"),
        Variant("ours-triton", True, "default", "ours for CUDA, compiled", "cuda"),
        Variant("ours-triton-graphs", True, "reduce-overhead", "that in CUDA graphs", "cuda"),
    )
}
"""All variants by name; the last four are for GPUs only."""


def names_for(device: str) -> list[str]:
    """The variants that a device can run, the floor last."""
    if device == "cuda":
        return [*VARIANTS, FLOOR]
    portable = {name: v for name, v in VARIANTS.items() if v.target == "portable"}
    return [*(name for name, v in portable.items() if v.mode != "reduce-overhead"), FLOOR]
