"""Sharding: the tables of a spec, the tensors looked up in each, and their collections."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from homespec.api import LoadedSpec
from homespec.graph.feature_nodes import Feature
from homespec.schema.fitted_columns import word_columns
from homespec.schema.input_tensors import InputTensor, input_tensors

MULTIPLE = 4
"""Widths of tables must be multiples of this: "embedding_dim must be a multiple of 4" (fbgemm 1.8,
split_table_batched_embeddings_ops_training.py). Padding would change row-wise Adagrad."""


class UnshardableError(ValueError):
    """Raised if the spec has nothing to shard, or a table that TorchRec does not support."""


@dataclass(frozen=True)
class EmbeddingTable:
    """An embedding table and the tensors that are looked up in it."""

    name: str
    """The name of the feature in the spec; `history.seen` for a sequence's own field."""
    rows: int
    width: int
    keys: tuple[str, ...]
    """Names of the tensors: `video_id`, `history.video_id`."""
    look_ups: int
    """Maximum number of rows that an example needs."""
    by_events: bool
    """Whether events are among the tensors, so that an example needs several rows for each key."""

    @property
    def escaped(self) -> str:
        """The name for TorchRec, which splits names at dots. Names in specs contain no slashes."""
        return self.name.replace(".", "/")


def unescaped(name: str) -> str:
    """The name of a table in the spec."""
    return name.replace("/", ".")


def tables_of(spec: LoadedSpec) -> tuple[EmbeddingTable, ...]:
    """The tables in the order of the spec, then those of fields that only events have."""
    tensors = defaultdict(list)
    for tensor in input_tensors(spec):
        if tensor.table:
            tensors[tensor.table].append(tensor)
    features = spec.analysis.graph.of(Feature)
    for feature in features:
        if feature.crossed:  # one row for each example, which the model finds
            tensors[feature.short] = [InputTensor(feature.short, feature.short, "")]
    if not tensors:
        raise UnshardableError(
            f"{spec.name} has no embedding table, so there is nothing to shard: train it with "
            "DistributedDataParallel"
        )
    if fitted := [f"`{name}`" for name in word_columns(spec)]:
        raise UnshardableError(
            f"the vocabulary of {', '.join(fitted)} is fitted to data, which is not sharded: hash"
            " these ids with `buckets`, or list them in `vocab`"
        )
    if several := sorted({f"`{f.short}`" for f in features if f.one_of_several}):
        raise UnshardableError(
            f"{', '.join(several)} has a table at each of several nodes of the task tree (`at`), "
            "which is not sharded: declare a feature for each node, each with the same `column`"
        )
    tables = tuple(_table(f, tensors[f.short]) for f in features if f.short in tensors)
    odd = [f"`{table.name}` ({table.width})" for table in tables if table.width % MULTIPLE]
    if odd:
        raise UnshardableError(
            f"the dim of {', '.join(odd)} is not a multiple of {MULTIPLE}, which TorchRec's "
            "kernels require: use another `dim` in the spec"
        )
    return tables


def _table(feature: Feature, tensors: list[InputTensor]) -> EmbeddingTable:
    lengths = [tensor.length for tensor in tensors]
    return EmbeddingTable(
        feature.short,
        feature.rows,
        feature.width,
        keys=tuple(tensor.name for tensor in tensors),
        look_ups=sum(length or 1 for length in lengths),
        by_events=any(lengths),
    )


def pooled(tables: tuple[EmbeddingTable, ...]) -> list[EmbeddingTable]:
    """Tables of which an example needs one row per key, which form an EmbeddingBagCollection."""
    return [table for table in tables if not table.by_events]


def unpooled(tables: tuple[EmbeddingTable, ...]) -> dict[int, list[EmbeddingTable]]:
    """Tables that events read, by width: an EmbeddingCollection has a single width."""
    by_width = defaultdict(list)
    for table in tables:
        if table.by_events:
            by_width[table.width].append(table)
    return dict(by_width)
