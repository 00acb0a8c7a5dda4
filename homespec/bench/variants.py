"""Benchmark: the variants of a spec's code that are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FLOOR = "floor"
"""Not a model: the bare matrix products of one; see `floor`."""


@dataclass(frozen=True, slots=True)
class Variant:
    """How to build one.

    `optimize` as in `homespec.build`; `mode` is that of torch.compile, None for eager.
    """

    name: str
    optimize: bool
    mode: Literal["default", "reduce-overhead"] | None
    help: str

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
    )
}
"""All variants by name; the last two are for GPUs only."""


def names_for(device: str) -> list[str]:
    """The variants that a device can run, the floor last."""
    on_gpu = device == "cuda"
    return [
        *(name for name, v in VARIANTS.items() if on_gpu or v.mode != "reduce-overhead"),
        FLOOR,
    ]
