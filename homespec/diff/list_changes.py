"""HS634 and HS635: changes of lists that are pooled."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding
from homespec.diff.breaks import Breaks
from homespec.diff.feature_changes import changed_features
from homespec.diff.pair import Pair, change
from homespec.graph.feature_nodes import Feature
from homespec.graph.nodes import Node


@change("HS634", "list-values", Breaks.INTERFACE)
def list_values(pair: Pair) -> Iterator[Finding]:
    """A list that was a single value or the reverse, or has another length, or other weights.

    Callers must pass a tensor of another shape, or a second tensor with weights. The table stays.
    """
    yield from changed_features(pair, _tensors, "the input")


def _tensors(node: Node) -> str:
    assert isinstance(node, Feature)
    if not node.pool:
        return "a single value"
    weights = " and their weights" if node.weighted else ""
    return f"{node.length} values{weights}"


@change("HS635", "list-pooling", Breaks.NUMERICS)
def list_pooling(pair: Pair) -> Iterator[Finding]:
    """A list whose embeddings are pooled in another way.

    All weights are kept, but they are combined into another embedding.
    """
    yield from changed_features(pair, _pool, "the pooling")


def _pool(node: Node) -> str:
    assert isinstance(node, Feature)
    return node.pool


LIST_CHANGES = (list_values, list_pooling)
