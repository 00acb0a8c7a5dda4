"""Masks of dropout by the logical place that they act on, for generated models and the oracle."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from stack_names import linears_before
from torch import Tensor, nn

Spec = dict[str, Any]


class Masks:
    """Zeros and ones [B, width] for each place, the same ones each time; a record of what for."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.given: dict[str, float] = {}

    def __call__(self, place: str, x_BD: Tensor, share: float) -> Tensor:
        """x without what the mask of the place drops, the rest scaled up."""
        number = hashlib.sha256(f"{place} {self.seed}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(number[:6], "big"))
        mask_BD = torch.rand(x_BD.shape, generator=generator, dtype=torch.float64) >= share
        self.given[place] = share
        return torch.where(mask_BD, x_BD / (1 - share), 0.0)

    def hand_out(self, model: nn.Module, spec: Spec, patch: pytest.MonkeyPatch) -> None:
        """Make a generated model in float64 take these masks in training."""
        widths = _widths(spec)
        for path, dropout in model.named_modules():
            if type(dropout).__name__ == "PartsDropout":
                patch.setattr(dropout, "forward", self._of_parts(dropout))
            elif path in ("features.dropout", "features._dropout"):
                patch.setattr(dropout, "forward", self._of_v(dropout, widths))
            elif isinstance(dropout, nn.Dropout) and not path.startswith("features."):
                places = linears_before(model, path) or [path.removesuffix(".dropout")]
                names = [place.removeprefix("trunk.") for place in places]
                patch.setattr(dropout, "forward", self._forward(dropout, names))

    def _of_v(self, dropout: Any, widths: dict[str, int]) -> Any:
        def forward(v_BV: Tensor) -> Tensor:
            if not dropout.training:
                return v_BV
            parts = zip(widths, v_BV.split(list(widths.values()), 1), strict=True)
            return torch.cat([self(f"features.{n}", x, dropout.p) for n, x in parts], 1)

        return forward

    def _of_parts(self, dropout: Any) -> Any:
        def forward(parts: dict[str, Tensor]) -> dict[str, Tensor]:
            if not dropout.training:
                return parts
            shares = [each.p for each in dropout.dropouts]
            return parts | {
                name: self(f"features.{name}", parts[name], share)
                for share, names in zip(shares, dropout.features, strict=True)
                for name in names
            }

        return forward

    def _forward(self, dropout: nn.Dropout, names: list[str]) -> Any:
        def forward(u: Tensor) -> Tensor:
            if not dropout.training:
                return u
            if u.dim() == 2:  # plain: [B, D] of one expert
                (name,) = names
                return self(name, u, dropout.p)
            parts = zip(names, u, strict=True)
            return torch.stack([self(name, each.T, dropout.p).T for name, each in parts])

        return forward


def _widths(spec: Spec) -> dict[str, int]:
    """The columns of v that features have, by the plain dict of the spec."""
    from reference import Reference

    return {name: part.width for name, part in Reference(spec).features.items()}
