"""Stage 7, emit: dropout of the parts of v."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.emit.layout import INDENT, Group, assign, call, literal, strings
from homespec.emit.sequences import own_attribute
from homespec.graph import Graph
from homespec.graph.inputs import inputs_of


class FeatureDropout:
    """The features of a graph by dropout share: each share is one operation."""

    def __init__(self, graph: Graph, plain: bool) -> None:
        self._module = own_attribute("dropout", plain)
        self._by_share: dict[float, list[str]] = {}
        for node, *_ in inputs_of(graph).values():
            self._by_share.setdefault(node.dropout, []).append(node.short)
        self._some = any(self._by_share) and len(self._by_share) > 1
        self._alike = any(self._by_share) and len(self._by_share) == 1

    @property
    def blocks(self) -> Iterator[str]:
        """Addresses of the required blocks."""
        if self._some:
            yield "feature_dropout.PartsDropout"

    @property
    def init(self) -> Iterator[str]:
        """The line of `__init__` that creates the module."""
        if self._alike:
            (share,) = self._by_share
            yield assign(self._module, call("nn.Dropout", literal(share)), 2)
        elif self._some:
            shares = tuple(
                (literal(share), strings(names)) for share, names in self._by_share.items() if share
            )
            made = call("PartsDropout", Group("", (), shares, "{}"))
            yield assign(self._module, made, 2)

    @property
    def of_parts(self) -> Iterator[str]:
        """The line that applies dropout to parts of v."""
        if self._some:
            yield f"{INDENT * 2}parts = {self._module}(parts)"

    def of_v(self, v: str) -> str:
        """v, if the same share applies to all features."""
        return f"{self._module}({v})" if self._alike else v
