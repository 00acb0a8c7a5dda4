"""Export: stores embedding tables in fewer bytes; rows become float32 when they are looked up.

Tables take most of a model's bytes but none of its arithmetic: a look-up only reads rows. bf16
keeps 8 significant bits of each number; int8 has a scale for each row, as the tables of
recommenders usually do (Guan et al., "Post-Training 4-bit Quantization on Embedding Tables", 2019,
and torch's `nn.quantized.Embedding`).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from homespec import runtime
from homespec.export import Weights

LEVELS = 127
"""The largest int8, to which the largest number of a row is scaled."""


class Bfloat16(nn.Module):
    """A table in bf16."""

    def forward(self, rows: Tensor) -> Tensor:
        """The table as float32."""
        return rows.float()

    def right_inverse(self, table: Tensor) -> tuple[Tensor]:
        """The nearest bf16 numbers."""
        return (table.bfloat16(),)


class Int8(nn.Module):
    """A table in int8, with a scale for each row."""

    def forward(self, rows: Tensor, scale: Tensor) -> Tensor:
        """The table as float32."""
        return rows.float() * scale

    def right_inverse(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest multiples [R, E] of a scale [R, 1]; a row of zeros stays zero."""
        scale = table.abs().amax(1, keepdim=True) / LEVELS
        rows = (table / scale.where(scale > 0, 1.0)).round().to(torch.int8)
        return rows, scale


FORMS: dict[str, type[Bfloat16 | Int8]] = {"bf16": Bfloat16, "int8": Int8}


def round_tables(model: nn.Module, weights: Weights) -> None:
    """Store the tables of an optimised model in fewer bytes; only for inference."""
    for table in runtime.tables_of(model).values():
        parametrize.register_parametrization(table, "weight", FORMS[weights](), unsafe=True)


def with_rounded_values(model: nn.Module, weights: Weights) -> nn.Module:
    """A copy of a model with the rounded embeddings of `round_tables`."""
    rounded, form = copy.deepcopy(model), FORMS[weights]()
    with torch.no_grad():
        for weight in runtime.embeddings_of(rounded):
            weight.copy_(form(*form.right_inverse(weight)))
    return rounded
