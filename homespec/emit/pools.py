"""Stage 7, emit: pools lists of values into one embedding."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.emit.layout import assign, call, literal
from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature
from homespec.graph.inputs import inputs_of
from homespec.schema.input_tensors import weights_key

POOLS = {"mean": "mean_of_events", "sum": "sum_of_values", "max": "max_of_values"}
WEIGHTED = {"mean": "weighted_mean", "sum": "weighted_sum"}
"""The functions of `blocks/events.py` by kind of pooling."""


class Pools:
    """The features of a graph that are lists, in the order of v."""

    def __init__(self, graph: Graph) -> None:
        self.all = [node for node in features_of(graph) if node.pool]

    @property
    def blocks(self) -> Iterator[str]:
        """Addresses of the required blocks."""
        for node in self.all:
            yield f"events.{_function(node)}"

    @property
    def forward(self) -> Iterator[str]:
        """Lines that replace the embeddings of all values by one."""
        for node in self.all:
            part, tensor = f"parts[{literal(node.short)}]", f"features[{literal(node.short)}]"
            there = f"{tensor} != -1" if node.source == "id" else f"~{tensor}.isnan()"
            weights = [f"features[{literal(weights_key(node.short))}]"] if node.weighted else []
            yield assign(part, call(_function(node), part, there, *weights), 2)


def features_of(graph: Graph) -> Iterator[Feature]:
    """The features that are looked up, in their order, wherever batches have put them."""
    for node, *_ in inputs_of(graph).values():
        if isinstance(node, Feature):
            yield node


def _function(node: Feature) -> str:
    return (WEIGHTED if node.weighted else POOLS)[node.pool]
