"""Benchmark: random features and labels of a spec."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from homespec.api import LoadedSpec
from homespec.graph.feature_nodes import Feature
from homespec.runtime import GeneratedModule
from homespec.schema import Spec
from homespec.schema.fitted_columns import fitted_columns, scaled_columns, word_columns
from homespec.schema.input_tensors import input_tensors


def random_features(spec: LoadedSpec, rows: int, device: str) -> dict[str, Tensor]:
    """Features by name: ids int64 [rows], numbers [rows], dense vectors [rows, n].

    There are as many ids as tables have rows, and numbers on both sides of all boundaries. Fields
    of events are [rows, length], without missing events, which is the most expensive case.
    """
    tables = {feature.short: feature for feature in spec.analysis.graph.of(Feature)}
    features = {}
    for tensor in input_tensors(spec):
        shape = (rows, tensor.length) if tensor.length else (rows,)
        if tensor.kind == "vector":
            features[tensor.name] = torch.randn(*shape, tensor.width)
        elif tensor.kind == "weight":
            features[tensor.name] = torch.rand(shape)
        elif tensor.kind == "id":
            features[tensor.name] = torch.randint(tables[tensor.table].rows - 1, shape)
        else:
            given = tables[tensor.table].boundaries if tensor.table else ()
            bounds = given or (0.0, 1.0)  # for fitted boundaries
            features[tensor.name] = torch.rand(shape) * (bounds[-1] - bounds[0]) * 1.2 + bounds[0]
    return {name: column.to(device) for name, column in features.items()}


def even_boundaries(spec: Spec) -> dict[str, list[float]]:
    """Values for fitted boundaries, evenly spaced between 0 and 1."""
    return {
        name: [index / fit.quantiles for index in range(1, fit.quantiles)]
        for name, fit in fitted_columns(spec).items()
    }


def set_fitted(code: GeneratedModule, model: nn.Module, spec: Spec) -> None:
    """Set the values that a spec fits to data, for ids from 0 and numbers between 0 and 1."""
    if boundaries := even_boundaries(spec):
        code.set_boundaries(model, boundaries)
    if scaled := scaled_columns(spec):
        code.set_scaling(model, dict.fromkeys(scaled, (0.5, 0.5)))
    if words := word_columns(spec):
        code.set_vocabularies(model, {name: range(own.max_size) for name, own in words.items()})


def random_labels(spec: Spec, rows: int, device: str) -> dict[str, Tensor]:
    """Labels [rows] by task, none missing: 0 or 1; for a regression, up to twice its scale."""
    labels = {}
    for name, task in spec.tasks.items():
        if task.kind == "regression":
            labels[name] = torch.rand(rows) * 2 * task.scale
        else:
            labels[name] = torch.randint(2, (rows,)).float()
    return {name: column.to(device) for name, column in labels.items()}
