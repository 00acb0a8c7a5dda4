"""Parameters and FLOPs of every node of a graph, as torch would count them.

FLOPs are those of the matrix products of one sample's forward pass, two for each multiply-add, as
`torch.utils.flop_counter` counts: embeddings are looked up, and norms, activations and mixtures
are elementwise. Both layouts of the generated code cost the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from homespec.analysis.sequence_costs import parameters_of, products_of
from homespec.graph.nodes import Batch, ExpertSet, Feature, FeatureGate, Gate, Node, SelfGate, Tower
from homespec.graph.sequences import Sequence


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter by logical name. `multiplied` if a sample is multiplied with it once as a matrix.

    Those of sequences are multiplied with events: `sequence_costs.products_of`.
    """

    name: str
    shape: tuple[int, ...]
    multiplied: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """How much there is of a node: trained numbers, and FLOPs for each sample."""

    parameters: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.flops + other.flops)


def cost_of(nodes: Iterable[Node]) -> Cost:
    """The cost of nodes together."""
    return sum(map(_cost, nodes), Cost())


def _cost(node: Node) -> Cost:
    if isinstance(node, Batch):
        return cost_of(node.members)
    # the experts of a set are alike, and there may be thousands
    count, weights = 1, weights_of(node)
    if isinstance(node, ExpertSet):
        count, weights = node.count, _expert(node.name, node)
    sizes = [(math.prod(weight.shape), weight.multiplied) for weight in weights]
    flops = sum(2 * size for size, multiplied in sizes if multiplied)
    if isinstance(node, Sequence):
        flops += sum(product.flops for product in products_of(node))
    return Cost(count * sum(size for size, _ in sizes), count * flops)


def weights_of(node: Node) -> Iterator[Weight]:
    """The parameters of a node (of all members of a batch), without buffers."""
    match node:
        case Batch():
            for member in node.members:
                yield from weights_of(member)
        case Feature() if node.rows and not node.table:
            yield Weight(f"{node.name}.weight", (node.rows, node.width))
        case Feature():
            yield from _vector(node)
        case Sequence():
            for name, shape in parameters_of(node):
                yield Weight(name, shape)
        case FeatureGate():
            yield from _feature_gate(node)
        case ExpertSet():
            for index in range(node.count):
                yield from _expert(f"{node.name}.{index}", node)
        case SelfGate() | Tower():
            yield from _mlp(node.name, node.widths)
        case Gate() if node.choices > 1:
            yield from _mlp(node.name, node.widths)


def _vector(node: Feature) -> Iterator[Weight]:
    if node.learned:
        yield Weight(f"{node.name}.missing", (node.numbers,))
    if node.projected:
        yield from _linear(f"{node.name}.projection", node.numbers, node.width)


def _feature_gate(node: FeatureGate) -> Iterator[Weight]:
    if node.loras > 1:
        yield from _linear(f"{node.name}.router", node.width, node.loras)
    for index in range(node.loras):
        lora = f"{node.name}.loras.{index}"
        yield from _linear(f"{lora}.down", node.width, node.rank, bias=False)
        yield from _linear(f"{lora}.up", node.rank, node.width, bias=False)


def _expert(name: str, node: ExpertSet) -> Iterator[Weight]:
    yield from _mlp(name, node.widths, node.last_bias)
    if node.norm != "none":
        yield Weight(f"{name}.norm.weight", (node.width,))
        yield Weight(f"{name}.norm.bias", (node.width,))
    if node.activation == "dice":
        yield Weight(f"{name}.dice.alpha", (node.width,))


def _mlp(name: str, widths: tuple[int, ...], last_bias: bool = True) -> Iterator[Weight]:
    last = len(widths) - 2
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        yield from _linear(f"{name}.linears.{i}", n_in, n_out, bias=last_bias or i < last)


def _linear(name: str, n_in: int, n_out: int, bias: bool = True) -> Iterator[Weight]:
    yield Weight(f"{name}.weight", (n_out, n_in), multiplied=True)
    if bias:
        yield Weight(f"{name}.bias", (n_out,))
