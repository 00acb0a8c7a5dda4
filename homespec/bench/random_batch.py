"""Benchmark: random features and labels of a spec."""

from __future__ import annotations

import torch
from torch import Tensor

from homespec.schema import Spec
from homespec.schema.fitted_columns import fitted_columns
from homespec.schema.models import Embedded
from homespec.schema.tensors import InputTensor, event_values, input_tensors


def random_features(spec: Spec, rows: int, device: str) -> dict[str, Tensor]:
    """Features by name: ids int64 [rows], numbers [rows], dense vectors [rows, n].

    Fields of events are [rows, length], all of them there: the most work that there can be.
    """
    features = {}
    for tensor in input_tensors(spec):
        shape = (rows, tensor.length) if tensor.length else (rows,)
        if tensor.kind == "id":
            features[tensor.name] = torch.randint(_ids(spec, tensor), shape)
        elif tensor.kind == "number":
            low, high = _range(_field(spec, tensor))
            features[tensor.name] = torch.rand(shape) * (high - low) * 1.2 + low
        else:
            features[tensor.name] = torch.randn(rows, tensor.width)
    return {name: column.to(device) for name, column in features.items()}


def _ids(spec: Spec, tensor: InputTensor) -> int:
    """How many different ids there are: as many as the table has rows for."""
    return _field(spec, tensor).rows - 1


def _field(spec: Spec, tensor: InputTensor) -> Embedded:
    """What the spec says of the values of a tensor."""
    if not tensor.length:
        return spec.features[spec.owner(tensor.name)]
    field = tensor.name.removeprefix(f"{tensor.feature}.")
    return event_values(spec, spec.features[tensor.feature].sequence, field)


def _range(field: Embedded) -> tuple[float, float]:
    """The first and the last boundary of a bucketised number."""
    if field.quantiles:
        return 0.0, 1.0
    return field.boundaries[0], field.boundaries[-1]


def even_boundaries(spec: Spec) -> dict[str, list[float]]:
    """Boundaries for what is to be fitted: evenly between 0 and 1."""
    return {
        name: [index / fit.quantiles for index in range(1, fit.quantiles)]
        for name, fit in fitted_columns(spec).items()
    }


def random_labels(spec: Spec, rows: int, device: str) -> dict[str, Tensor]:
    """Labels [rows] by task, none missing: 0 or 1, for a regression up to twice its scale."""
    labels = {}
    for name, task in spec.tasks.items():
        if task.kind == "regression":
            labels[name] = torch.rand(rows) * 2 * task.scale
        else:
            labels[name] = torch.randint(2, (rows,)).float()
    return {name: column.to(device) for name, column in labels.items()}
