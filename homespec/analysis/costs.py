"""Parameters and FLOPs of every node of a graph, as torch would count them.

FLOPs count the matrix products of one sample's forward pass, two for each multiply-add, as
`torch.utils.flop_counter` does: embeddings are looked up, and norms, activations and mixtures are
elementwise. Both layouts of the generated code cost the same.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from homespec.analysis.sequence_costs import products_of
from homespec.analysis.tensors import Own, Sizes, expert_tensors, own_tensors
from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature
from homespec.graph.nodes import Batch, ExpertSet, Node
from homespec.graph.sequences import Sequence

SIZES = Sizes()


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter by logical name. `multiplied` if it is a matrix that multiplies each sample once.

    Parameters of sequences multiply events instead: `sequence_costs.products_of`.
    """

    name: str
    shape: tuple[int, ...]
    multiplied: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """The size of a node: trained numbers, and FLOPs for each sample."""

    parameters: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.flops + other.flops)


def cost_of(nodes: Iterable[Node]) -> Cost:
    """The total cost of some nodes."""
    return sum(map(_cost, nodes), Cost())


def _cost(node: Node) -> Cost:
    if isinstance(node, Batch):
        return cost_of(node.members)
    # computed once: the experts of a set are equal, and there may be thousands
    count, tensors = 1, own_tensors(node, SIZES)
    if isinstance(node, ExpertSet):
        count, tensors = node.count, expert_tensors(node, SIZES.read(node.reads, node.widths[0]))
    parameters = flops = 0
    for own in tensors:
        if not own.is_buffer:
            size = math.prod([axis.size for axis in own.axes])
            parameters += size
            flops += 2 * size if _is_multiplied(own, node) else 0
    if isinstance(node, Sequence):
        flops = sum(product.flops for product in products_of(node))
    return Cost(count * parameters, count * flops)


@functools.lru_cache(maxsize=1)
def costs_by_node(graph: Graph) -> Mapping[str, Cost]:
    """The cost of each node by its name, cached because several rules need it."""
    return {node.name: _cost(node) for node in graph}


def table_parameters(node: Node) -> int:
    """How many of a node's trained numbers belong to tables."""
    if not isinstance(node, Feature):
        return 0
    tensors = [own for own in own_tensors(node, SIZES) if not own.is_buffer]
    tables = [own for own in tensors if own.axes[0].role == "rows"]
    return sum([math.prod([axis.size for axis in own.axes]) for own in tables])


def weights_of(node: Node) -> Iterator[Weight]:
    """The parameters of a node, or of all members of a batch, without buffers."""
    if isinstance(node, Batch):
        for member in node.members:
            yield from weights_of(member)
    for own in own_tensors(node, SIZES):
        if not own.is_buffer:
            shape = tuple(axis.size for axis in own.axes)
            yield Weight(f"{node.name}.{own.name}", shape, _is_multiplied(own, node))


def _is_multiplied(own: Own, node: Node) -> bool:
    """Whether a tensor is a matrix that multiplies a sample, and not a table."""
    is_matrix = len(own.axes) == 2 and own.axes[0].role != "rows"
    return is_matrix and not isinstance(node, Sequence)
