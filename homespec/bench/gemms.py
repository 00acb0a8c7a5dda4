"""Benchmark: a list of a model's matrix products, taken from its graph before any pass.

Every Linear of experts, gates, self gates, LoRAs, routers and towers is one product in the forward
pass and two in the backward pass: dX, the gradient of its input, and dW, that of its weight.
Experts that read the same value are one wide product in their first layer. There is no dX for a
value that depends on no weight, such as v if all features are raw dense vectors; autograd also
skips it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from homespec.analysis.sequence_costs import products_of
from homespec.graph import Graph, nodes
from homespec.graph.feature_nodes import Feature
from homespec.graph.inputs import readings_of
from homespec.graph.sequences import Sequence


@dataclass(frozen=True, slots=True)
class Gemm:
    """x [B, inputs] times a weight [outputs, inputs]; `name` is that of its first Linear.

    `rows` is the number of rows of x for each sample, if x holds events. Products of events with
    each other in an attention also count this way.
    """

    name: str
    inputs: int
    outputs: int
    needs_dx: bool = True
    rows: int = 1

    @property
    def flops(self) -> int:
        """FLOPs of the forward product for each sample."""
        return 2 * self.inputs * self.outputs * self.rows

    @property
    def step_flops(self) -> int:
        """FLOPs of all two or three products for each sample."""
        return self.flops * (3 if self.needs_dx else 2)


def gemms_of(graph: Graph) -> list[Gemm]:
    """All products of a graph without batches, in order; the wide ones are last."""
    embedded = any(node.rows or node.projected or node.learned for node in graph.of(Feature))
    untrained = set() if embedded else {nodes.Port(node.name) for node in readings_of(graph)}
    gemms: list[Gemm] = []
    wide: dict[nodes.Port, Gemm] = {}
    for node in graph:
        gemms += _gemms(node, trained=not set(node.reads) <= untrained)
        if isinstance(node, nodes.ExpertSet):
            for index, port in enumerate(_read_by_experts(node)):
                n_in, n_out = node.widths[:2]
                name = f"{node.name}.{index}.linears.0"
                first = Gemm(name, n_in, n_out, port not in untrained)
                known = wide.get(port, replace(first, outputs=0))
                wide[port] = replace(known, outputs=known.outputs + first.outputs)
    return [*gemms, *wide.values()]


def _read_by_experts(node: nodes.ExpertSet) -> tuple[nodes.Port, ...]:
    """The input of each expert: one value for all, or one value each."""
    return node.reads if len(node.reads) > 1 else node.reads * node.count


def _gemms(node: nodes.Node, trained: bool) -> Iterator[Gemm]:
    """The products of a node, except the first layers of experts."""
    match node:
        case Feature() if node.projected:
            yield Gemm(f"{node.name}.projection", node.numbers, node.width, node.learned)
        case Sequence():
            for product in products_of(node):
                yield Gemm(product.name, product.inputs, product.outputs, rows=product.rows)
        case nodes.FeatureGate():
            if node.loras > 1:
                yield Gemm(f"{node.name}.router", node.read_width, node.loras, trained)
            for index in range(node.loras):
                lora = f"{node.name}.loras.{index}"
                yield Gemm(f"{lora}.down", node.read_width, node.rank, trained)
                yield Gemm(f"{lora}.up", node.rank, node.width)
        case nodes.ExpertSet():
            for index in range(node.count):
                yield from list(_mlp(f"{node.name}.{index}", node.widths, trained))[1:]
        case nodes.Tower():
            yield from _mlp(node.name, node.widths, trained)
        case nodes.Gate() if node.has_weights and not node.is_static:
            yield from _mlp(node.name, node.widths, trained)


def _mlp(name: str, widths: tuple[int, ...], trained: bool) -> Iterator[Gemm]:
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        yield Gemm(f"{name}.linears.{i}", n_in, n_out, trained or i > 0)


def activation_widths(graph: Graph) -> int:
    """Numbers for each sample that must be stored between the products of the forward pass.

    They are the outputs of products (of a LoRA only its low-rank side, because its mixture of
    sigmoids need not be stored), the outputs of feature gates, and the states. Norms, activations
    and mixtures may be fused with their neighbours.
    """
    gemms = gemms_of(graph)
    outputs = sum(gemm.outputs * gemm.rows for gemm in gemms if not gemm.name.endswith(".up"))
    gated = sum(node.width for node in graph.of(nodes.FeatureGate))
    return outputs + gated + sum(node.width for node in graph.of(nodes.Mix))
