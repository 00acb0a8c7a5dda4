"""Sharding: features by name -> the rows of their tables as TorchRec takes them, dense numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType

import torch
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from torchrec.streamable import Pipelineable

from homespec.api import LoadedSpec, PathLike
from homespec.graph import Feature
from homespec.sharding.layout import layout, short


@dataclass
class Inputs(Pipelineable):  # type: ignore[misc]  # torchrec has no types
    """What a sharded model takes for B examples. TorchRec's pipelines can move it between devices.

    rows: by feature, B lists of one row of its table. dense: [B, N], the dense features side by
    side in the order of the spec. labels: [B] by task, which the model does not read; they are
    there for what moves batches.
    """

    rows: KeyedJaggedTensor
    dense: Tensor
    labels: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device, non_blocking: bool = False) -> Inputs:
        """The same on another device."""
        return Inputs(
            self.rows.to(device, non_blocking),
            self.dense.to(device, non_blocking=non_blocking),
            {t: label.to(device, non_blocking=non_blocking) for t, label in self.labels.items()},
        )

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the memory until the stream has used it."""
        for part in (self.rows, self.dense, *self.labels.values()):
            part.record_stream(stream)

    def pin_memory(self) -> Inputs:
        """The same in memory from which a GPU copies fastest."""
        labels = {task: label.pin_memory() for task, label in self.labels.items()}
        return Inputs(self.rows.pin_memory(), self.dense.pin_memory(), labels)


class Rows(nn.Module):
    """Features by name, as the single-process model takes them -> `Inputs`.

    Rows are found by the functions of the generated file. It learns nothing and may run in the
    process that reads the data. Like the generated model it raises ValueError for features missing
    or misshapen, and while it is in training mode for less than two rows if batch norm needs them.
    """

    def __init__(self, spec: PathLike | LoadedSpec) -> None:
        """Raises SpecError, UnshardableError."""
        super().__init__()
        found = layout(spec)
        self.finders = nn.ModuleDict({short(f): Finder(found.code, f) for f in found.looked_up})
        self.dense = tuple(short(feature) for feature in found.dense)
        self.no_nan = found.code.no_nan if self.dense else None
        self.register_forward_pre_hook(found.code.check_inputs, with_kwargs=True)

    def forward(
        self, features: Mapping[str, Tensor], labels: Mapping[str, Tensor] | None = None
    ) -> Inputs:
        """Features as the generated model takes them, B examples -> their `Inputs`."""
        rows = [find(features[name]) for name, find in self.finders.items()]
        values = torch.cat(rows)
        ones = torch.ones_like(values, dtype=torch.int32)
        keyed = KeyedJaggedTensor(list(self.finders), values, lengths=ones, stride=len(rows[0]))
        return Inputs(keyed, self._numbers(features, rows[0]), dict(labels or {}))

    def _numbers(self, features: Mapping[str, Tensor], rows_B: Tensor) -> Tensor:
        if self.no_nan is None:
            return torch.empty(len(rows_B), 0, device=rows_B.device)
        dense_BN: Tensor = torch.cat([self.no_nan(features[name]) for name in self.dense], dim=1)
        return dense_BN


class Finder(nn.Module):
    """The raw values of one feature [B] -> rows of its table [B], by the generated function."""

    boundaries: Tensor

    def __init__(self, code: ModuleType, feature: Feature) -> None:
        super().__init__()
        if feature.source == "bucketize":
            self.find = code.bucket_rows
            exact = torch.tensor(feature.boundaries, dtype=torch.float64)
            self.register_buffer("boundaries", exact, persistent=False)
        else:
            self.find = code.hash_rows if feature.hashed else code.known_rows
        self.known = feature.rows - 1

    def forward(self, values_B: Tensor) -> Tensor:
        """Values [B] -> rows, int64 [B]; row 0 is for missing ones."""
        by = getattr(self, "boundaries", self.known)
        rows_B: Tensor = self.find(values_B, by)
        return rows_B
