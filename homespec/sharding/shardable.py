"""Sharding: the model of a spec, with its tables in TorchRec's collections."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchrec import (
    EmbeddingBagCollection,
    EmbeddingBagConfig,
    EmbeddingCollection,
    EmbeddingConfig,
)

from homespec.api import LoadedSpec, PathLike, as_loaded
from homespec.sharding.boundaries import Boundaries, Scaling
from homespec.sharding.dense import Dense
from homespec.sharding.partition import EmbeddingTable, pooled, tables_of, unpooled
from homespec.sharding.preprocess import Inputs

INITIAL_STD = 0.01
"""Standard deviation of new embeddings, as in generated files."""


def build(
    spec: PathLike | LoadedSpec,
    boundaries: Boundaries | None = None,
    *,
    scaling: Scaling | None = None,
    tables: torch.device | str = "meta",
) -> ShardableModel:
    """The model of a spec in the form that `shard` takes. Raises SpecError, UnshardableError.

    `boundaries` and `scaling` are those that the spec fits to data, by feature; they may also come
    with weights that you load later. Raises KeyError and ValueError if they do not match the spec.
    `tables` is the device on which the tables are created. On the default device, they take no
    memory until they are sharded, when each device creates its own part.
    """
    loaded = as_loaded(spec)
    sharded = tables_of(loaded)
    dense = Dense(loaded)
    if boundaries is not None:
        dense.set_boundaries(boundaries)
    if scaling is not None:
        dense.set_scaling(scaling)
    return ShardableModel(sharded, dense, torch.device(tables))


class ShardableModel(nn.Module):
    """Maps `Inputs` to logits [B] by task: the generated model, split up for TorchRec.

    `pooled` is an EmbeddingBagCollection of the tables of which an example needs one row for each
    feature: a bag holds one row, and its sum is the embedding itself. `unpooled` has an
    EmbeddingCollection for each width of the tables that events read. `dense` is the rest of the
    model. `tables` are all tables, by name.
    """

    def __init__(
        self, tables: tuple[EmbeddingTable, ...], dense: Dense, device: torch.device
    ) -> None:
        super().__init__()
        self.tables = {table.name: table for table in tables}
        self.pooled = _bags(pooled(tables), device) if pooled(tables) else None
        self.unpooled = nn.ModuleDict(
            {f"width_{w}": _events(some, device) for w, some in unpooled(tables).items()}
        )
        self.dense = dense

    def table_parameters(self) -> Iterator[nn.Parameter]:
        """The tables."""
        for collection in (self.pooled, *self.unpooled.values()):
            if collection is not None:
                yield from collection.parameters()

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Map `Inputs` of B examples to logits [B] by task."""
        pooled = self.pooled(inputs.rows) if self.pooled is not None else None
        unpooled = [collection(inputs.of_events) for collection in self.unpooled.values()]
        logits: dict[str, Tensor] = self.dense(inputs, pooled, unpooled)
        return logits


def _bags(tables: list[EmbeddingTable], device: torch.device) -> EmbeddingBagCollection:
    """Tables with look-ups by tensor, so that tensors that share a table each have a bag."""
    configs = [
        EmbeddingBagConfig(feature_names=list(table.keys), **_options(table)) for table in tables
    ]
    return EmbeddingBagCollection(configs, device=device)


def _events(tables: list[EmbeddingTable], device: torch.device) -> EmbeddingCollection:
    """Tables with look-ups by table, which request each row that a batch needs once."""
    configs = [
        EmbeddingConfig(feature_names=[table.escaped], **_options(table)) for table in tables
    ]
    return EmbeddingCollection(configs, device=device)


def _options(table: EmbeddingTable) -> dict[str, Any]:
    return {
        "name": table.escaped,
        "num_embeddings": table.rows,
        "embedding_dim": table.width,
        "init_fn": partial(nn.init.normal_, std=INITIAL_STD),
    }
