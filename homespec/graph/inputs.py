"""The inputs of a model and their columns: the features of a graph, optimised or not.

The look-ups of all features are concatenated in the order of the spec; those of a feature with
several tables are consecutive. Without `at` in the spec, this is v itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from homespec.graph.feature_nodes import Feature, Input, Reading
from homespec.graph.graph import Graph
from homespec.graph.nodes import Batch, Node, Port
from homespec.graph.sequences import Sequence

InputNode = Feature | Sequence


def member(graph: Graph, port: Port) -> Node:
    """The node that computes a value, alone or in a batch."""
    node = graph[port.node]
    return node.members[port.member or 0] if isinstance(node, Batch) else node


def root_input(graph: Graph) -> Input:
    """The node that computes v."""
    (v,) = graph.of(Input)
    return v


def readings_of(graph: Graph) -> list[Input | Reading]:
    """The readings of features by nodes of the task tree: v, then those below the root."""
    return [*graph.of(Input), *graph.of(Reading)]


def inputs_of(graph: Graph) -> dict[str, list[InputNode]]:
    """The features that are read, by name in the order of the spec: their tables, or themselves."""
    v = root_input(graph)
    found: dict[str, list[InputNode]] = {}
    for reader in readings_of(graph):
        for node in features_read(graph, reader):
            known = found.setdefault(node.short, [])
            if node not in known:
                known.append(node)
    order = [name for name in v.order or found if name in found]
    return {name: _in_order(graph, found[name]) for name in order}


def _in_order(graph: Graph, tables: list[InputNode]) -> list[InputNode]:
    """Tables in the order of the task tree, which is the order of the graph."""
    if len(tables) == 1:
        return tables
    names = {table.name for table in tables}
    return [node for node in graph.of(Feature) if node.name in names]


def columns_of(graph: Graph) -> dict[str, int]:
    """The first column of each feature, or of each of its tables, by node."""
    starts, end = {}, 0
    for tables in inputs_of(graph).values():
        for node in tables:
            starts[node.name] = end
            end += node.width
    return starts


def width_of(graph: Graph) -> int:
    """Total number of columns of all features."""
    return sum(node.width for tables in inputs_of(graph).values() for node in tables)


def features_read(graph: Graph, node: Input | Reading) -> list[InputNode]:
    """The features that a node reads, each from the nearest place, in order."""
    nodes = [member(graph, port) for port in node.reads]
    return [node for node in nodes if isinstance(node, Feature | Sequence)]


def columns_read(graph: Graph, node: Input | Reading) -> Iterator[tuple[int, int]]:
    """The columns that a node reads, as (first, number), with adjacent ones joined."""
    starts = columns_of(graph)
    first = size = 0
    for feature in features_read(graph, node):
        start = starts[feature.name]
        if size and start == first + size:
            size += feature.width
            continue
        if size:
            yield first, size
        first, size = start, feature.width
    if size:
        yield first, size
