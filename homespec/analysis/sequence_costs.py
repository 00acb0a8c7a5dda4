"""The matrix products of the encoder of a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from homespec.graph.sequences import Dien, Din, Mean, Sequence, Sim, Twin


class Product(NamedTuple):
    """x [rows, inputs] times [inputs, outputs], a weight or other events, once for each sample."""

    name: str
    inputs: int
    outputs: int
    rows: int = 1

    @property
    def flops(self) -> int:
        """FLOPs for each sample."""
        return 2 * self.inputs * self.outputs * self.rows


def products_of(node: Sequence) -> Iterator[Product]:
    """The matrix products of a forward pass of the generated code.

    The first stages of searches and the weighted sums of DIN and DIEN are elementwise.
    """
    for product in _products(node):
        yield product._replace(name=f"{node.name}.encoder.{product.name}")


def _products(node: Sequence) -> Iterator[Product]:
    q, event, length = node.query_width, node.event_width, node.max_len
    match node.encoder:
        case Mean():
            return
        case Din(hidden=hidden):
            first, *others = (*hidden, 1)
            names = [*(f"layers.{i}" for i in range(len(hidden))), "out"]
            yield Product(names[0], q + event, first, length)
            yield Product(f"{names[0]} of the candidate", q, first)
            for name, n_in, n_out in zip(names[1:], hidden, others, strict=True):
                yield Product(name, n_in, n_out, length)
        case Dien(width=h):
            for gru, n_in in (("extractor", event), ("evolution", h)):
                yield Product(f"{gru}.inputs", n_in, 3 * h, length)
                yield Product(f"{gru}.states", h, 3 * h, length)
            yield Product("attention", q, h)
        case Sim(top=top, heads=heads, width=width):
            yield Product("query", q, width)
            yield Product("key", width, event)
            yield from _attention(event, heads, top)
        case Twin(top=top, heads=heads, width=width):
            yield Product("query", q, width, 2)  # once for each stage
            yield Product("key", width, q, 2)
            yield from _attention(event, heads, top)
            yield Product("value", event, width)
            yield Product("out", width, width)


def _attention(event: int, heads: int, top: int) -> Iterator[Product]:
    yield Product("scores", event, top, heads)
    yield Product("sums", top, event, heads)
