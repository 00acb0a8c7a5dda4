"""Stage 7, emit: the inputs of a file that takes one user's features for many candidates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from homespec.emit.input_fields import InputField
from homespec.emit.layout import INDENT, assign, literal, packed, sequence, strings
from homespec.emit.sequences import ROWS
from homespec.graph import Graph
from homespec.graph.feature_nodes import INPUT, Feature, SplitInput
from homespec.graph.nodes import Gate
from homespec.graph.once import is_once, parts_of_input
from homespec.graph.sequences import Sequence


class UserInputs:
    """The user's tensors and parts of v; empty if the graph has no such features."""

    def __init__(self, graph: Graph, fields: list[InputField]) -> None:
        self.graph = graph
        self.names = tuple(f.key for f in fields if _feature(f.key) in graph.user)
        self.split = next(iter(graph.of(SplitInput)), None)
        self._first = next((f.key for f in fields if f.key not in self.names), "")
        self._computed = [
            part.short
            for part in parts_of_input(graph)
            if (isinstance(part, Sequence) or part.crossed) and is_once(part, graph.user)
        ]

    @property
    def whole(self) -> bool:
        """Whether v is also needed as one tensor, with the user's columns in each row."""
        lone_gates = any(isinstance(node, Gate) for node in self.graph)  # take the shape of x
        return self.split is None or bool(self.graph.readers(INPUT)) or lone_gates

    def context(self) -> dict[str, Any]:
        """The variables of the templates."""
        return {
            "user": self.names,
            "user_constants": "\n".join(self._constants()),
            "user_width": self.split.user if self.split else 0,
            "whole": self.whole,
        }

    def _constants(self) -> Iterator[str]:
        if self.names:
            yield packed("USER", strings(self.names))
        if self.split:
            columns = [sequence([str(a), str(b)]) for a, b in self.split.columns]
            yield packed("USER_COLUMNS", sequence(columns))
            yield f"USER_WIDTH = {self.split.user}"

    def counted(self, lines: list[str]) -> Iterator[str]:
        """Lines of a forward, preceded by one that counts the candidates if necessary."""
        if any(ROWS in line for line in lines):
            yield f"{INDENT * 2}{ROWS} = features[{literal(self._first)}].shape[0]"
        yield from lines

    @property
    def forms(self) -> Iterator[str]:
        """Addresses of the variants of blocks in such a file."""
        if self.names:
            yield from ("din.compare__split", "dien.run_gru__split", "events.picked__split")
            yield "events.picked_vectors__split"
            if any(isinstance(p, Feature) and p.crossed for p in parts_of_input(self.graph)):
                yield "tables.group_of__crossed"

    def returned(self, names: str) -> Iterator[str]:
        """Lines that return v: its parts and, if needed, the whole."""
        each = f"parts[name].expand({ROWS}, -1) for name in {names}"
        whole = f"torch.cat([{each}], dim=1)"
        if self.split is None:
            yield f"{INDENT * 2}return {whole}"
            return
        of_user = "USER"
        if self._computed:
            names_of_user = sequence(["*USER", *map(literal, self._computed)])
            yield assign("of_user", names_of_user, 2)
            of_user = "of_user"
        yield f"{INDENT * 2}user = torch.cat([parts[n] for n in {names} if n in {of_user}], dim=1)"
        others = f"[parts[n] for n in {names} if n not in {of_user}]"
        yield f"{INDENT * 2}candidates = torch.cat({others}, dim=1)"
        if self.whole:
            yield f"{INDENT * 2}x = {whole}"
        yield f"{INDENT * 2}return user, candidates{', x' if self.whole else ''}"


def _feature(key: str) -> str:
    """The feature that a tensor belongs to."""
    return key.partition(".")[0]
