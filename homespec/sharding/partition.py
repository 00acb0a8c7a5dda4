"""Sharding: which tables a spec has, what is looked up in each, and which collection holds it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from homespec.api import LoadedSpec, PathLike, build_module, load
from homespec.graph import Graph
from homespec.graph.nodes import INPUT, Feature
from homespec.graph.sequences import Sequence

MULTIPLE = 4
"""Widths of tables are multiples of this: "embedding_dim must be a multiple of 4" (fbgemm 1.8,
split_table_batched_embeddings_ops_training.py). Padded ones would have another row-wise Adagrad."""


class UnshardableError(ValueError):
    """The spec has nothing that could be sharded, or a table that TorchRec cannot hold."""


@dataclass(frozen=True)
class EmbeddingTable:
    """One embedding table and the tensors whose values are looked up in it."""

    feature: Feature
    """The one that owns it; what only events have is a feature, too."""
    keys: tuple[str, ...]
    """Of the tensors: `video_id`, `history.video_id`."""
    by_events: bool
    """Whether events are among them, so that an example needs more than one row for a key."""

    @property
    def name(self) -> str:
        """The name of the feature in the spec; that of a sequence's own field is `history.seen`."""
        return self.feature.short

    @property
    def escaped(self) -> str:
        """The same for TorchRec, which cuts names at dots."""
        return escaped(self.name)


@dataclass(frozen=True)
class Partition:
    """The tables of a spec, those that events read apart from the others."""

    code: ModuleType
    """The generated module."""
    tables: tuple[EmbeddingTable, ...]
    """In the order of the spec, then what only events have."""

    @property
    def pooled(self) -> list[EmbeddingTable]:
        """Tables of which an example needs one row for each key: an EmbeddingBagCollection."""
        return [table for table in self.tables if not table.by_events]

    @property
    def unpooled(self) -> dict[int, list[EmbeddingTable]]:
        """Tables that events read, by width: an EmbeddingCollection has one width."""
        found = defaultdict(list)
        for table in self.tables:
            if table.by_events:
                found[table.feature.width].append(table)
        return dict(found)


def partition(spec: PathLike | LoadedSpec) -> Partition:
    """The partition of a spec. Raises SpecError and UnshardableError."""
    loaded = spec if isinstance(spec, LoadedSpec) else load(spec)
    graph = loaded.analysis.graph
    keys = defaultdict(list)
    for owner, key in _look_ups(graph):
        keys[owner].append(key)
    if not keys:
        raise UnshardableError(
            f"{loaded.name} has no embedding table, so there is nothing to shard: train it with"
            " DistributedDataParallel alone"
        )
    code = build_module(loaded)
    events = getattr(code, "EVENTS", {})
    tables = tuple(
        EmbeddingTable(feature, tuple(keys[feature.name]), not events.keys().isdisjoint(found))
        for feature in graph.of(Feature)
        if (found := keys.get(feature.name))
    )
    _check_widths(tables)
    return Partition(code, tables)


def _check_widths(tables: tuple[EmbeddingTable, ...]) -> None:
    odd = [f"`{t.name}` ({t.feature.width})" for t in tables if t.feature.width % MULTIPLE]
    if odd:
        raise UnshardableError(
            f"the dim of {', '.join(odd)} is no multiple of {MULTIPLE}, which TorchRec's kernels"
            " need: give another `dim` in the spec"
        )


def escaped(name: str) -> str:
    """The name of a table for TorchRec; names in specs have no slashes."""
    return name.replace(".", "/")


def unescaped(name: str) -> str:
    """The name of a table as the spec has it."""
    return name.replace("/", ".")


def _look_ups(graph: Graph) -> Iterator[tuple[str, str]]:
    """Names of nodes of tables, and keys of the tensors whose values are looked up in them."""
    for port in graph[INPUT].reads:
        node = graph[port.node]
        if isinstance(node, Feature) and node.rows:
            yield node.owner, node.short
    for sequence in graph.of(Sequence):
        for field in sequence.fields:
            table = graph[field.table]
            assert isinstance(table, Feature)
            yield table.owner, field.key
