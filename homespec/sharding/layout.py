"""Sharding: what a spec's features are made of, and whether TorchRec can hold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType

from homespec.api import LoadedSpec, PathLike, build_module, load
from homespec.graph import INPUT, Feature, Graph

KINDS = ("id", "bucketize", "dense")
"""The kinds of features that can be sharded: one row of one table for each example, or numbers."""


class UnshardableError(ValueError):
    """The spec has a feature that this package cannot shard; the message names it."""


@dataclass(frozen=True)
class Layout:
    """The features of a spec in the order in which v concatenates them."""

    code: ModuleType
    """The generated module."""
    features: tuple[Feature, ...]

    @property
    def looked_up(self) -> tuple[Feature, ...]:
        """The features with a table, each with one of its own."""
        return tuple(feature for feature in self.features if feature.rows)

    @property
    def dense(self) -> tuple[Feature, ...]:
        """The features that are numbers already."""
        return tuple(feature for feature in self.features if not feature.rows)


def layout(spec: PathLike | LoadedSpec) -> Layout:
    """The layout of a spec. Raises SpecError, and UnshardableError for what cannot be sharded."""
    loaded = spec if isinstance(spec, LoadedSpec) else load(spec)
    _check_kinds(loaded)
    graph, code = loaded.analysis.graph, build_module(loaded)
    found = Layout(code, tuple(_features(graph)))
    if not found.looked_up:
        raise UnshardableError(
            f"{loaded.name} has no embedding table, so there is nothing to shard: train it with"
            " DistributedDataParallel alone"
        )
    _check_names(found)
    return found


def short(feature: Feature) -> str:
    """The name of a feature in the spec."""
    return feature.name.removeprefix("features.")


def _check_kinds(spec: LoadedSpec) -> None:
    for name, feature in spec.features.items():
        if feature.kind not in KINDS:
            raise UnshardableError(_message(name, f"is of the kind `{feature.kind}`"))


def _features(graph: Graph) -> Iterable[Feature]:
    for port in graph[INPUT].reads:
        node = graph[port.node]
        if not isinstance(node, Feature):
            raise UnshardableError(_message(node.name.partition(".")[2], f"is a {node.kind}"))
        yield node


def _check_names(found: Layout) -> None:
    """The generated file has these tables and learns nothing else in front of the trunk."""
    tables: dict[str, int] = {}
    for tensor, pattern, *axes in found.code.LOGICAL:
        if not tensor.startswith("features."):
            continue
        if not (axes and isinstance(axes[0], dict)):
            raise UnshardableError(_message(pattern.split(".")[1], f"learns `{pattern}`"))
        tables |= axes[0]
    mine = {short(feature): feature.rows for feature in found.looked_up}
    for name in sorted({name for name, _ in tables.items() ^ mine.items()}):
        raise UnshardableError(_message(name, "has no table of its own"))


def _message(name: str, what: str) -> str:
    return f"feature `{name}` {what}; homespec.sharding shards {', '.join(KINDS)} features"
