"""Benchmark: the floor, a time that no implementation of a model's arithmetic is expected to beat.

It is the time of the model's matrix products alone, one after the other, into preallocated buffers:
without norms, activations, gates, mixtures, loss and optimiser. On a GPU, they are recorded as one
CUDA graph, and the time to move the necessary bytes is added: every activation
(`gemms.activation_widths`) is written once and read once in the forward pass, and so is its
gradient in the backward pass, at the measured bandwidth of a copy. Weights and the optimiser's
state are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from homespec.bench.gemms import Gemm, activation_widths
from homespec.bench.timing import cuda_milliseconds
from homespec.graph import Graph

Product = tuple[Tensor, Tensor, Tensor]
"""Two factors and the buffer of their product."""

COPIED = 2**28
"""Bytes of the copy that measures bandwidth, larger than any cache."""


class Roofline:
    """The products of a model on `rows` samples, in the forward pass or in a training step."""

    def __init__(self, gemms: Sequence[Gemm], rows: int, device: str, dtype: torch.dtype) -> None:
        def random(*shape: int) -> Tensor:
            return torch.randn(shape, device=device, dtype=dtype)

        self.products: list[Product] = []
        backward: list[Product] = []
        for gemm in gemms:
            x, weight = random(rows * gemm.rows, gemm.inputs), random(gemm.outputs, gemm.inputs)
            dy = random(rows * gemm.rows, gemm.outputs)
            self.products.append((x, weight.T, torch.empty_like(dy)))
            backward.append((dy.T, x, torch.empty_like(weight)))
            if gemm.needs_dx:
                backward.append((dy, weight, torch.empty_like(x)))
        self.all = [*self.products, *reversed(backward)]
        run = _recorded if device == "cuda" else _multiplying
        self.forward, self.step = run(self.products), run(self.all)


def _multiplying(products: Sequence[Product]) -> Callable[[], object]:
    def multiply() -> None:
        for left, right, out in products:
            torch.mm(left, right, out=out)

    return multiply


def _recorded(products: Sequence[Product]) -> Callable[[], object]:
    """The products as a CUDA graph, so that launching them costs nothing."""
    multiply = _multiplying(products)
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        multiply()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        multiply()
    return graph.replay


def bytes_moved(graph: Graph, rows: int, dtype: torch.dtype) -> int:
    """Bytes moved between products: each activation is written and read once in the forward pass.

    A training step moves twice as many.
    """
    return 2 * rows * activation_widths(graph) * dtype.itemsize


def bandwidth() -> float:
    """Bytes that the GPU moves in a millisecond: a copy reads and writes."""
    source = torch.empty(COPIED, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = [cuda_milliseconds(lambda: target.copy_(source)) for _ in range(20)]
    return 2 * COPIED / min(times[5:])
