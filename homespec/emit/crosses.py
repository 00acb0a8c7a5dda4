"""Stage 7, emit: CROSSES, the features whose rows a generated file computes from two ids."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.emit.input_fields import InputField, entry
from homespec.emit.layout import INDENT, assign, call, flat, strings
from homespec.emit.pools import features_of
from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature
from homespec.graph.inputs import inputs_of

PLAIN = {"hashed": "Hashed", "vocab": "Vocab", "words": "Words"}
"""The modules of ids of a plain file, by kind: those that are crossed find rows by themselves."""


class Crosses:
    """The crosses of a graph, in a file with a module for each feature (`plain`) or without."""

    def __init__(self, graph: Graph, fields: list[InputField], plain: bool) -> None:
        self.graph, self.plain = graph, plain
        self.all = [node for node in features_of(graph) if node.crossed]
        names = {name for node in self.all for name in node.crossed}
        self.kinds = dict.fromkeys(field.kind for field in fields if field.key in names)

    @property
    def constant(self) -> str:
        """CROSSES, or nothing."""
        if not self.all:
            return ""
        lines = [
            entry(node.short, _description(node), node.span, self.graph.span.file)
            for node in self.all
        ]
        return "\n".join(["CROSSES = {", *lines, "}"])

    @property
    def described(self) -> str:
        """What describes the fields of all tables, as an expression."""
        return "FEATURES | CROSSES" if self.all else "FEATURES"

    @property
    def items(self) -> str:
        """The names and descriptions of these fields."""
        return "(FEATURES | CROSSES).items()" if self.all else "FEATURES.items()"

    @property
    def blocks(self) -> Iterator[str]:
        """Addresses of the blocks that they need."""
        if self.all and self.plain:
            yield "plain_inputs.Crossed"
            yield from (f"plain_inputs.{PLAIN[kind]}__crossed" for kind in self.kinds)
        elif self.all:
            yield "rows.cross_rows"

    def names_of_tables(self, sliced: bool) -> Iterator[str]:
        """The address of the form of a table that knows the logical names of crosses.

        One that is `sliced` does by itself.
        """
        if self.all and not sliced:
            yield "tables.Table__crossed"

    def init(self, parts: str) -> Iterator[str]:
        """Lines of `__init__` that set the names of all parts of v, in their order."""
        yield assign(parts, strings(list(inputs_of(self.graph))), 2)

    @property
    def modules(self) -> Iterator[str]:
        """Lines of `__init__` of a plain file that make their tables."""
        if self.all:
            yield f"{INDENT * 2}for name, cross in CROSSES.items():"
            yield f"{INDENT * 3}self.add_module(name, Crossed(cross))"

    @property
    def rows(self) -> Iterator[str]:
        """Lines that add the rows of pairs to those of their ids."""
        if self.all:
            yield f"{INDENT * 2}for name, cross in CROSSES.items():"
            yield f'{INDENT * 3}ids = [features[n] for n in cross["of"]]'
            yield f'{INDENT * 3}own = [rows[n] for n in cross["of"]]'
            yield f'{INDENT * 3}rows[name] = cross_rows(ids, own, cross["rows"])'

    @property
    def plain_parts(self) -> Iterator[str]:
        """Lines of a plain file that look pairs up."""
        if self.all:
            owner = 'FEATURES[n].get("table", n)' if self._sharing else "n"
            yield f"{INDENT * 2}for name, cross in CROSSES.items():"
            yield f'{INDENT * 3}ids = {{n: features[n] for n in cross["of"]}}'
            yield f"{INDENT * 3}own = [self.get_submodule({owner}).rows(ids[n]) for n in ids]"
            yield f"{INDENT * 3}parts[name] = self.get_submodule(name)(ids.values(), own)"

    @property
    def _sharing(self) -> bool:
        names = {name for node in self.all for name in node.crossed}
        return any(node.table for node in features_of(self.graph) if node.short in names)


def _description(node: Feature) -> str:
    """`crossed(100000, dim=8, of=("user_id", "tab"))`."""
    of = strings(node.crossed)
    return flat(call("crossed", str(node.rows - 1), dim=str(node.width), of=of))
