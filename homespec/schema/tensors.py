"""Stage 2, schema: the tensors that a model takes, and the columns of data they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from homespec.schema.models import Spec


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One entry of the dict of features that a model is called with.

    `id`: int64 [B], missing -1. `number`: float [B], missing NaN. `vector`: float [B, width],
    missing NaN. Where `length` is not 0 the tensor has that many events a row, [B, length], oldest
    first, then as many missing values as it takes.
    """

    name: str
    """Its key; a field of a sequence is `sequence.field`."""
    feature: str
    """The feature of the spec that it belongs to."""
    column: str
    """The column of the data."""
    kind: Literal["id", "number", "vector"]
    width: int = 0
    """Numbers of a vector."""
    length: int = 0
    """Events of a sequence that are kept, the latest; 0 for a single value."""
    vocab: int = 0
    """Ids are 0 to vocab - 1; 0 where any id is hashed, and for what is no id."""


def input_tensors(spec: Spec) -> tuple[InputTensor, ...]:
    """The tensors in the order of the features."""
    return tuple(_tensor(spec, name) for name in spec.features)


def _tensor(spec: Spec, name: str) -> InputTensor:
    feature = spec.features[name]
    if feature.kind == "id":
        return InputTensor(name, name, feature.column, "id", vocab=feature.id.vocab)
    if feature.kind == "dense":
        return InputTensor(name, name, feature.column, "vector", width=feature.dense)
    return InputTensor(name, name, feature.column, "number")
