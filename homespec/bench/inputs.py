"""Benchmark: random features and labels of a spec."""

from __future__ import annotations

import torch
from torch import Tensor

from homespec.schema import Spec


def random_features(spec: Spec, rows: int, device: str) -> dict[str, Tensor]:
    """Features by name: ids int64 [rows], numbers [rows], dense vectors [rows, n]."""
    features = {}
    for name, feature in spec.features.items():
        if feature.kind == "id":
            features[name] = torch.randint(feature.rows - 1, (rows,))
        elif feature.kind == "bucketize":
            low, high = feature.bucketize[0], feature.bucketize[-1]
            features[name] = torch.rand(rows) * (high - low) * 1.2 + low
        else:
            features[name] = torch.randn(rows, feature.dense)
    return {name: column.to(device) for name, column in features.items()}


def random_labels(spec: Spec, rows: int, device: str) -> dict[str, Tensor]:
    """Labels [rows] by task, none missing: 0 or 1, for a regression up to twice its scale."""
    labels = {}
    for name, task in spec.tasks.items():
        if task.kind == "regression":
            labels[name] = torch.rand(rows) * 2 * task.scale
        else:
            labels[name] = torch.randint(2, (rows,)).float()
    return {name: column.to(device) for name, column in labels.items()}
