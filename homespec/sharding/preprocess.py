"""Sharding: finds the rows of features in their tables, in TorchRec's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor
from torchrec.streamable import Pipelineable

from homespec.api import LoadedSpec, PathLike, as_loaded, build_module
from homespec.runtime import GeneratedFeatures, GeneratedModule
from homespec.schema.fitted_columns import fitted_columns
from homespec.sharding.boundaries import Boundaries, Frozen, set_boundaries
from homespec.sharding.partition import pooled, tables_of


@dataclass
class Inputs(Pipelineable):  # type: ignore[misc]  # torchrec has no types
    """The input of a sharded model for B examples.

    TorchRec's pipelines can move it between devices.

    rows: by feature, B lists of one row of its table; None if events read all tables. of_events: by
    table that events read, one ascending list of the distinct rows that the batch needs; None
    without events. features: the tensors that the model reads itself: dense vectors, events, and
    features that share tables with them. labels: [B] by task; the model does not read them, but
    they move with the batch. boundaries: the fitted boundaries by which rows were found.
    """

    rows: KeyedJaggedTensor | None
    of_events: KeyedJaggedTensor | None
    features: dict[str, Tensor]
    labels: dict[str, Tensor] = field(default_factory=dict)
    boundaries: Frozen = field(default_factory=dict)

    def to(self, device: torch.device, non_blocking: bool = False) -> Inputs:
        """The same inputs on another device."""
        return self._each(lambda part: part.to(device, non_blocking=non_blocking))

    def of_events_by_table(self) -> dict[str, JaggedTensor]:
        """The rows that events need, by table; {} without events."""
        return {} if self.of_events is None else self.of_events.to_dict()

    def pin_memory(self) -> Inputs:
        """The same inputs in pinned memory, from which a GPU copies fastest."""
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
    """Maps features by name, as the single-process model takes them, to `Inputs`.

    Rows are found by the generated `Features`. It has nothing to learn and may run in the process
    that reads the data. Like the generated model, it raises ValueError for missing or misshapen
    features and, in training mode, for fewer than two rows if batch norm needs them.
    """

    def __init__(self, spec: PathLike | LoadedSpec, boundaries: Boundaries | None = None) -> None:
        """`boundaries` are those that the spec fits to data, by feature.

        Raises SpecError, UnshardableError, and KeyError or ValueError if the boundaries do not
        match the spec.
        """
        super().__init__()
        loaded = as_loaded(spec)
        tables, code = tables_of(loaded), build_module(loaded)
        self.pooled = tuple(key for table in pooled(tables) for key in table.keys)
        self.of_events = {table.escaped: table.keys for table in tables if table.by_events}
        self.read = tuple(key for key in code.FEATURES if key not in self.pooled)
        self.features = _without_weights(code)
        self.unset: tuple[str, ...]
        fitted = tuple(fitted_columns(loaded))
        if fitted and not boundaries:
            raise ValueError(f"the boundaries of {', '.join(fitted)} are needed to compute rows")
        self.boundaries = set_boundaries(code, self, fitted, boundaries or {})
        self.unset = ()  # only the model needs scalings, which do not affect rows
        self.register_forward_pre_hook(code.check_inputs, with_kwargs=True)

    def forward(
        self, features: Mapping[str, Tensor], labels: Mapping[str, Tensor] | None = None
    ) -> Inputs:
        """Map B examples, with features as the generated model takes them, to `Inputs`."""
        rows = self.features.rows(features)
        return Inputs(
            self._pooled(rows) if self.pooled else None,
            self._of_events(rows) if self.of_events else None,
            {name: features[name] for name in self.read},
            dict(labels or {}),
            self.boundaries,
        )

    def _pooled(self, rows: Mapping[str, Tensor]) -> KeyedJaggedTensor:
        values = torch.cat([rows[key] for key in self.pooled])
        ones = torch.ones_like(values, dtype=torch.int32)
        stride = len(values) // len(self.pooled)
        return KeyedJaggedTensor(list(self.pooled), values, lengths=ones, stride=stride)

    def _of_events(self, rows: Mapping[str, Tensor]) -> KeyedJaggedTensor:
        needed = [
            torch.unique(torch.cat([rows[key].flatten() for key in keys]))
            for keys in self.of_events.values()
        ]
        values = torch.cat(needed)
        lengths = torch.tensor([len(each) for each in needed], dtype=torch.int32)
        lengths = lengths.to(values.device)
        return KeyedJaggedTensor(list(self.of_events), values, lengths=lengths, stride=1)


def _without_weights(code: GeneratedModule) -> GeneratedFeatures:
    """The generated `Features`, reduced to finding rows: without tables and encoders."""
    with torch.random.fork_rng(devices=[]):  # no weights, so that no random numbers are drawn
        features = code.Features(lambda _: nn.Module())
    for name, child in list(features.named_children()):
        if any(True for _ in child.parameters()):
            delattr(features, name)
    return features
