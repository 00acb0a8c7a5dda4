"""Training: values for the parts of a tensor, as small tensors that broadcast to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Views = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]
"""The generated `logical_views` of a model."""


def spread(
    views: Views, name: str, parameter: Tensor, values: Mapping[str, float], table: bool
) -> Tensor:
    """A value for each logical part of a tensor, 0 for parts without one, narrowed.

    Parts of a table are rows, so the result is not as large as the table.
    """
    shape = (len(parameter), 1) if table else parameter.shape
    whole = torch.zeros(shape, dtype=torch.float64)
    for part, view in views({name: whole}).items():
        view.fill_(values.get(part, 0.0))
    return narrowed(whole)


def narrowed(values: Tensor) -> Tensor:
    """The same values, with size 1 in dimensions along which they are constant."""
    for dim in range(values.dim()):
        first = values.narrow(dim, 0, 1)
        if values.numel() and (values == first).all():
            values = first
    return values.clone()
