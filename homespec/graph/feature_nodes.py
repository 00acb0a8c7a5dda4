"""The nodes of features, of v, and of the parts of v that nodes and gates read.

Shapes as in nodes.py: B batch, V width of the input v, N width of what a node reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from homespec.graph.nodes import Node, Placed
from homespec.schema.identifiers import ROOT

INPUT = "input"
"""Name of the node that concatenates the features into v."""
SPLIT = "split_input"
"""Name of the node that has v in two parts, where one user's request has many candidates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature(Node):
    """An input feature -> [B, width]. `source` is id, bucketize, number, dense or cross.

    It has a table with `rows`, or uses that of the feature named `table`, which it then reads.
    Boundaries are given, or `fitted` of them are fitted to data, like the vocabulary of up to
    `words` ids. A dense feature has `numbers`, which a Linear projects to `width` if it is
    `projected`; if it is missing completely, a vector may be `learned`. A number has a `scale`. A
    list has `length` values, whose embeddings are pooled by `pool`, with weights if it is
    `weighted`. A cross has no tensor: its rows are those of pairs of the two ids `crossed`,
    features by name. In training a share `dropout` of its columns of v is 0. Only nodes of the task
    tree at or below `place` read it. If it has tables at several places, each of them is a node.
    """

    kind: ClassVar[str] = "feature"
    short: str
    """The key of its tensor: the name in the spec, or `history.seen` for what only events have."""
    source: Literal["id", "bucketize", "number", "dense", "cross"]
    column: str
    width: int
    rows: int = 0
    hashed: bool = False
    texts: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()
    numbers: int = 0
    projected: bool = False
    learned: bool = False
    fitted: int = 0
    words: int = 0
    table: str = ""
    scale: Literal["standard", "log", "minmax", "none", ""] = ""
    length: int = 0
    pool: Literal["", "mean", "sum", "max"] = ""
    weighted: bool = False
    crossed: tuple[str, ...] = ()
    dropout: float = 0.0
    place: str = ROOT

    @property
    def one_of_several(self) -> bool:
        """Whether it is the table of one place, and the feature has others."""
        return self.name == f"features.{self.short}.{self.place}"

    @property
    def owner(self) -> str:
        """The name of the node that owns the table."""
        return self.table or self.name

    @property
    def scaled(self) -> bool:
        """Whether its scale is fitted to data."""
        return self.scale not in ("", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input(Node):
    """The concatenation v of the features that the root reads -> [B, V].

    If the features are not all those of the spec, `order` has the latter's names in their order.
    """

    kind: ClassVar[str] = "input"
    width: int
    order: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitInput(Input):
    """v in two parts: of the user [1, user] and of the candidates [B, V - user].

    `columns` are those of the user in v, as ranges (start, end).
    """

    kind: ClassVar[str] = "split_input"
    columns: tuple[tuple[int, int], ...]

    @property
    def user(self) -> int:
        """Number of the user's columns of v."""
        return sum(end - start for start, end in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns(Node):
    """Columns of v [B, V], those of some features -> [B, width]; `slices` are (start, end)."""

    kind: ClassVar[str] = "columns"
    features: tuple[str, ...]
    slices: tuple[tuple[int, int], ...]
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached(Node):
    """A value [B, width] -> the same value, through which no gradient flows."""

    kind: ClassVar[str] = "detached"
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Placed):
    """The concatenation of the features on the path of a node below the root -> [B, N].

    It has the nearest table of a feature with several. `layer` is "".
    """

    kind: ClassVar[str] = "reading"
    width: int


VIEWS = (Columns, Detached)
"""Nodes without weights or work of their own: parts of values, and values without gradients."""
