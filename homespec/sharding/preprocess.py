"""Sharding: features by name -> the rows of their tables as TorchRec takes them, and the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor
from torchrec.streamable import Pipelineable

from homespec.api import LoadedSpec, PathLike
from homespec.graph.nodes import Feature
from homespec.sharding.boundaries import Boundaries, Frozen, checked
from homespec.sharding.partition import partition


@dataclass
class Inputs(Pipelineable):  # type: ignore[misc]  # torchrec has no types
    """What a sharded model takes for B examples. TorchRec's pipelines can move it between devices.

    rows: by feature, B lists of one row of its table; None if events read all tables.
    of_events: by table that events read, one list of all rows that the batch needs, ascending and
    each once; None without events. features: those that the model reads itself, by tensor: dense
    vectors, events and what they share tables with. labels: [B] by task, which the model does not
    read; they are there for what moves batches. boundaries: the fitted ones by which rows were
    found.
    """

    rows: KeyedJaggedTensor | None
    of_events: KeyedJaggedTensor | None
    features: dict[str, Tensor]
    labels: dict[str, Tensor] = field(default_factory=dict)
    boundaries: Frozen = field(default_factory=dict)

    def to(self, device: torch.device, non_blocking: bool = False) -> Inputs:
        """The same on another device."""
        return self._each(lambda part: part.to(device, non_blocking=non_blocking))

    def of_events_by_table(self) -> dict[str, JaggedTensor]:
        """The rows that events need, by table; {} without events."""
        return {} if self.of_events is None else self.of_events.to_dict()

    def pin_memory(self) -> Inputs:
        """The same in memory from which a GPU copies fastest."""
        return self._each(lambda part: part.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the memory until the stream has used it."""
        lists = [part for part in (self.rows, self.of_events) if part is not None]
        for part in (*lists, *self.features.values(), *self.labels.values()):
            part.record_stream(stream)

    def _each(self, move: Callable[[Any], Any]) -> Inputs:
        return Inputs(
            None if self.rows is None else move(self.rows),
            None if self.of_events is None else move(self.of_events),
            {name: move(tensor) for name, tensor in self.features.items()},
            {task: move(label) for task, label in self.labels.items()},
            self.boundaries,
        )


class Preprocessor(nn.Module):
    """Features by name, as the single-process model takes them -> `Inputs`.

    Rows are found by the functions of the generated file. It learns nothing and may run in the
    process that reads the data. Like the generated model it raises ValueError for features missing
    or misshapen, and while it is in training mode for less than two rows if batch norm needs them.
    """

    def __init__(self, spec: PathLike | LoadedSpec, boundaries: Boundaries | None = None) -> None:
        """`boundaries` are those that the spec leaves to the data, by feature.

        Raises SpecError, UnshardableError; KeyError and ValueError for other boundaries than the
        spec needs.
        """
        super().__init__()
        found = partition(spec)
        self.boundaries = checked(found.code, boundaries or {})
        self.finders = nn.ModuleDict(
            {table.escaped: self._finder(found.code, table.feature) for table in found.tables}
        )
        self.pooled = {key: table.escaped for table in found.pooled for key in table.keys}
        self.of_events = {
            table.escaped: table.keys for tables in found.unpooled.values() for table in tables
        }
        self.read = tuple(key for key in found.code.FEATURES if key not in self.pooled)
        self.unset = ()
        self.register_forward_pre_hook(found.code.check_inputs, with_kwargs=True)

    def forward(
        self, features: Mapping[str, Tensor], labels: Mapping[str, Tensor] | None = None
    ) -> Inputs:
        """Features as the generated model takes them, B examples -> their `Inputs`."""
        return Inputs(
            self._pooled(features) if self.pooled else None,
            self._of_events(features) if self.of_events else None,
            {name: features[name] for name in self.read},
            dict(labels or {}),
            self.boundaries,
        )

    def _pooled(self, features: Mapping[str, Tensor]) -> KeyedJaggedTensor:
        rows = [self.finders[table](features[key]) for key, table in self.pooled.items()]
        values = torch.cat(rows)
        ones = torch.ones_like(values, dtype=torch.int32)
        return KeyedJaggedTensor(list(self.pooled), values, lengths=ones, stride=len(rows[0]))

    def _of_events(self, features: Mapping[str, Tensor]) -> KeyedJaggedTensor:
        rows: list[Tensor] = []
        for table, keys in self.of_events.items():
            each = [self.finders[table](features[key]).flatten() for key in keys]
            rows.append(torch.unique(torch.cat(each)))
        values = torch.cat(rows)
        lengths = torch.tensor([len(each) for each in rows], dtype=torch.int32)
        lengths = lengths.to(values.device)
        return KeyedJaggedTensor(list(self.of_events), values, lengths=lengths, stride=1)

    def _finder(self, code: ModuleType, feature: Feature) -> Finder:
        return Finder(code, feature, self.boundaries.get(feature.short, feature.boundaries))


class Finder(nn.Module):
    """Raw values of any shape -> rows of a table, by the generated function."""

    def __init__(self, code: ModuleType, feature: Feature, boundaries: tuple[float, ...]) -> None:
        super().__init__()
        self.cuts: Any = None  # the generated `Exact`
        if feature.source == "bucketize":
            self.find = code.bucket_rows
            self.cuts = code.Exact()
            self.cuts.constant("boundaries", boundaries, torch.float64)
            self.cuts.constant("rounded", boundaries, torch.float32)
        else:
            self.find = code.hash_rows if feature.hashed else code.known_rows
        self.known = feature.rows - 1

    def forward(self, values: Tensor) -> Tensor:
        """Values -> rows, int64 of their shape; row 0 is for missing ones."""
        by = (self.known,) if self.cuts is None else (self.cuts.boundaries, self.cuts.rounded)
        rows: Tensor = self.find(values, *by)
        return rows
