"""What the encoder of a sequence costs: its parameters, and its matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from homespec.graph.sequences import Dien, Din, Mean, Sequence, Sim, Twin

Shape = tuple[int, ...]


class Product(NamedTuple):
    """x [rows, inputs] times [inputs, outputs], once for each sample; a weight or other events."""

    name: str
    inputs: int
    outputs: int
    rows: int = 1

    @property
    def flops(self) -> int:
        """For each sample."""
        return 2 * self.inputs * self.outputs * self.rows


def parameters_of(node: Sequence) -> Iterator[tuple[str, Shape]]:
    """Logical names and shapes of all parameters, without buffers."""
    for name, shape in _parameters(node):
        yield f"{node.name}.encoder.{name}", shape


def products_of(node: Sequence) -> Iterator[Product]:
    """The matrix products of a forward pass, as the generated code makes them.

    The first stages of searches and weighted sums of DIN and DIEN are elementwise.
    """
    for product in _products(node):
        yield product._replace(name=f"{node.name}.encoder.{product.name}")


def _parameters(node: Sequence) -> Iterator[tuple[str, Shape]]:
    q, event = node.query_width, node.event_width
    match node.encoder:
        case Din() as din:
            widths = (3 * q + event, *din.hidden)
            for i, (n_in, n_out) in enumerate(pairwise(widths)):
                yield f"layers.{i}.weight", (n_out, n_in)
                yield f"layers.{i}.bias", (n_out,)
                if din.activation == "dice":
                    yield f"layers.{i}.dice.alpha", (n_out,)
            yield "out.weight", (1, widths[-1])
            if not din.softmax:  # which would take it away again
                yield "out.bias", (1,)
        case Dien(width=h):
            for gru, n_in in (("extractor", event), ("evolution", h)):
                yield f"{gru}.inputs.weight", (3 * h, n_in)
                yield f"{gru}.inputs.bias", (3 * h,)
                yield f"{gru}.states.weight", (3 * h, h)
            yield "attention.weight", (h, q)
        case Sim(width=width):
            yield "query.weight", (width, q)
            yield "key.weight", (width, event)
        case Twin(width=width, heads=heads):
            yield "query.weight", (width, q)
            yield "key.weight", (width, q)
            if event > q:
                yield "cross.weight", (heads, event - q)
            yield "value.weight", (width, event)
            yield "out.weight", (width, width)


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
