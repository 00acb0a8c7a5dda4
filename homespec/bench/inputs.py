"""Benchmark: random features and labels of a spec."""

from __future__ import annotations

import torch
from torch import Tensor

from homespec.schema import Spec
from homespec.schema.models import EventField, Feature
from homespec.schema.tensors import InputTensor, input_tensors


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
            boundaries = _field(spec, tensor).bucketize
            low, high = boundaries[0], boundaries[-1]
            features[tensor.name] = torch.rand(shape) * (high - low) * 1.2 + low
        else:
            features[tensor.name] = torch.randn(rows, tensor.width)
    return {name: column.to(device) for name, column in features.items()}


def _ids(spec: Spec, tensor: InputTensor) -> int:
    """How many different ids there are: as many as the table has rows for."""
    return _field(spec, tensor).rows - 1


def _field(spec: Spec, tensor: InputTensor) -> Feature | EventField:
    """What the spec says of the values of a tensor."""
    if not tensor.length:
        return spec.features[tensor.name]
    field = tensor.name.removeprefix(f"{tensor.feature}.")
    return spec.features[tensor.feature].sequence.with_.get(field) or spec.features[field]


def random_labels(spec: Spec, rows: int, device: str) -> dict[str, Tensor]:
    """Labels [rows] by task, none missing: 0 or 1, for a regression up to twice its scale."""
    labels = {}
    for name, task in spec.tasks.items():
        if task.kind == "regression":
            labels[name] = torch.rand(rows) * 2 * task.scale
        else:
            labels[name] = torch.randint(2, (rows,)).float()
    return {name: column.to(device) for name, column in labels.items()}
