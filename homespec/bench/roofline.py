"""Benchmark: the floor, which no implementation of a model's arithmetic can be expected to beat.

It is the time of the model's matrix products alone, one after the other, into buffers that are
there already: no norm, activation, gate, mixture, loss, optimiser. On a GPU they are recorded as
one CUDA graph, and the time of the bytes that must move between them is added: every activation
(`gemms.activation_widths`) is written once and read once forward, and so is its gradient backward,
at the bandwidth of a copy that is measured on the spot. Weights and the optimiser's state come for
free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from homespec.bench.gemms import Gemm, activation_widths
from homespec.bench.timing import cuda_milliseconds
from homespec.graph import Graph

Product = tuple[Tensor, Tensor, Tensor]
"""Two factors and where their product goes."""

COPIED = 2**28
"""Bytes of the copy that measures bandwidth: more than any cache."""


class Roofline:
    """The products of a model on `rows` samples, forward alone or all of a training step."""

    def __init__(self, gemms: Sequence[Gemm], rows: int, device: str, dtype: torch.dtype) -> None:
        self.products = [_forward(gemm, rows, device, dtype) for gemm in gemms]
        backward = [_backward(gemm, rows, device, dtype) for gemm in reversed(gemms)]
        self.all = [*self.products, *(product for pair in backward for product in pair)]
        self.forward: Callable[[], object] = lambda: _multiply(self.products)
        self.step: Callable[[], object] = lambda: _multiply(self.all)
        if device == "cuda":
            self.forward, self.step = _recorded(self.products), _recorded(self.all)


def _forward(gemm: Gemm, rows: int, device: str, dtype: torch.dtype) -> Product:
    rows *= gemm.rows
    x = torch.randn(rows, gemm.inputs, device=device, dtype=dtype)
    weight = torch.randn(gemm.outputs, gemm.inputs, device=device, dtype=dtype)
    return x, weight.T, x.new_empty(rows, gemm.outputs)


def _backward(gemm: Gemm, rows: int, device: str, dtype: torch.dtype) -> list[Product]:
    """dX, where it is needed, and dW."""
    rows *= gemm.rows
    dy = torch.randn(rows, gemm.outputs, device=device, dtype=dtype)
    x = torch.randn(rows, gemm.inputs, device=device, dtype=dtype)
    weight = torch.randn(gemm.outputs, gemm.inputs, device=device, dtype=dtype)
    products = [(dy.T, x, torch.empty_like(weight))]
    return [(dy, weight, torch.empty_like(x)), *products] if gemm.needs_dx else products


def _multiply(products: Sequence[Product]) -> None:
    for left, right, out in products:
        torch.mm(left, right, out=out)


def _recorded(products: Sequence[Product]) -> Callable[[], object]:
    """The products as a CUDA graph, so that launching them costs nothing."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        _multiply(products)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        _multiply(products)
    return graph.replay


def bytes_moved(graph: Graph, rows: int, dtype: torch.dtype) -> int:
    """Bytes of a forward pass between its products: each activation written and read once.

    A training step moves twice as many.
    """
    return 2 * rows * activation_widths(graph) * dtype.itemsize


def bandwidth() -> float:
    """Bytes that the GPU moves in a millisecond: a copy reads and writes."""
    source = torch.empty(COPIED, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = [cuda_milliseconds(lambda: target.copy_(source)) for _ in range(20)]
    return 2 * COPIED / min(times[5:], default=math.inf)
