"""Sharding: a spec -> its tables as an EmbeddingBagCollection and the generated trunk."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig
from torchrec.sparse.jagged_tensor import KeyedTensor

from homespec.api import LoadedSpec, PathLike
from homespec.graph import Feature
from homespec.sharding.layout import Layout, layout, short
from homespec.sharding.rows import Inputs

INITIAL_STD = 0.05
"""The standard deviation of new embeddings, as in generated files."""


def build(spec: PathLike | LoadedSpec, *, tables: torch.device | str = "meta") -> ShardableModel:
    """The model of a spec in the form that `shard` takes. Raises SpecError, UnshardableError.

    `tables` is the device on which the tables are made. On the default they take no memory until
    they are sharded, each device making its own part.
    """
    return ShardableModel(layout(spec), torch.device(tables))


class ShardableModel(nn.Module):
    """`Inputs` -> logits [B] by task: what the generated model computes, parted for TorchRec.

    `features` is an EmbeddingBagCollection with a table for each feature, by its name; `trunk` is
    the generated one. Each bag holds one row, so that its sum is the embedding itself. `shapes`
    are those of the whole tables.
    """

    def __init__(self, found: Layout, tables: torch.device) -> None:
        super().__init__()
        configs = [_config(feature) for feature in found.looked_up]
        self.shapes = {c.name: (c.num_embeddings, c.embedding_dim) for c in configs}
        self.features = EmbeddingBagCollection(tables=configs, device=tables)
        self.concatenation = Concatenation(found)
        self.trunk: nn.Module = found.code.Trunk()
        self.logical_views = found.code.logical_views

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """`Inputs` of B examples -> logits [B] by task."""
        embedded = self.features(inputs.rows)
        logits: dict[str, Tensor] = self.trunk(self.concatenation(embedded, inputs.dense))
        return logits


class Concatenation(nn.Module):
    """Embeddings by feature and dense features [B, N] -> v [B, V], in the order of the spec.

    A module of its own: TorchRec's pipelines trace what stands beside the tables, and take whole
    what is in modules without tables.
    """

    def __init__(self, found: Layout) -> None:
        super().__init__()
        self.order = tuple(short(feature) for feature in found.features)
        self.dense = tuple(short(feature) for feature in found.dense)
        self.widths = [feature.width for feature in found.dense]

    def forward(self, embedded: KeyedTensor, dense_BN: Tensor) -> Tensor:
        """As the class says."""
        parts = embedded.to_dict()
        numbers = torch.split(dense_BN.to(embedded.values().dtype), self.widths, dim=1)
        parts |= dict(zip(self.dense, numbers, strict=True))
        return torch.cat([parts[name] for name in self.order], dim=1)


def _config(feature: Feature) -> EmbeddingBagConfig:
    name = short(feature)
    return EmbeddingBagConfig(
        name=name,
        feature_names=[name],
        num_embeddings=feature.rows,
        embedding_dim=feature.width,
        init_fn=partial(nn.init.normal_, std=INITIAL_STD),
    )
