"""Export: the input tensors of a served model, each with exactly one type."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch

from homespec.export import ExportError
from homespec.schema.input_tensors import InputTensor, input_tensors
from homespec.schema.models import Spec

ID_TYPE, VECTOR_TYPE = "int64", "float32"
NUMBER_TYPES = ("float32", "float64")


@dataclass(frozen=True, slots=True)
class Input:
    """One tensor: [batch], [batch, events] or [batch, width]; the user's have 1 for batch."""

    tensor: InputTensor
    dtype: str
    """int64 for ids; float32 or float64 for numbers; float32 for vectors and weights."""
    user: bool = False
    """Whether a request has it once, in one row, for all its rows."""

    @property
    def name(self) -> str:
        """Its name in the spec; `sequence.field` for a field of a sequence."""
        return self.tensor.name

    @property
    def row(self) -> tuple[int, ...]:
        """The shape of one row; () for a single value."""
        tensor = self.tensor
        return tuple(size for size in (tensor.length, tensor.width) if size)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type in torch."""
        kind: torch.dtype = getattr(torch, self.dtype)
        return kind


def inputs_of(
    spec: Spec, taken: Iterable[str], numbers: Mapping[str, str], user: Collection[str] = ()
) -> tuple[Input, ...]:
    """The inputs in the order of `taken`, the names of a generated file's FEATURES.

    `numbers` has the type of each number by name, `user` the features that a request has once.
    Raises ExportError for a number without a type.
    """
    known = {tensor.name: tensor for tensor in input_tensors(spec)}
    return tuple(
        Input(known[name], _dtype(known[name], numbers), known[name].feature in user)
        for name in taken
    )


def _dtype(tensor: InputTensor, numbers: Mapping[str, str]) -> str:
    if tensor.kind == "number":
        if tensor.name not in numbers:
            raise ExportError(f"the type of the numbers of `{tensor.name}` is not known")
        return numbers[tensor.name]
    return ID_TYPE if tensor.kind == "id" else VECTOR_TYPE
