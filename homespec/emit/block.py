"""What one node of the graph contributes to the generated file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from homespec.emit.layout import Expr
from homespec.graph import Node


@dataclass(frozen=True, slots=True)
class Logical:
    """One tensor of the model and the logical names of its parts, which lie along its first axis.

    `axes` fill the braces of `pattern` in turn: names, or a number for 0, 1, …. `table` is the
    constant that gives the parts' names and sizes where these are not one each. The parts may lie
    in some `rows` only of each of several stacked matrices; `names` is then the constant that lists
    them.
    """

    tensor: str
    pattern: str
    axes: tuple[tuple[str, ...] | int, ...] = ()
    table: str = ""
    rows: tuple[int, int] | None = None
    names: str = ""


@dataclass(slots=True)
class Block:
    """Lines for `__init__`, lines for `forward`, logical names, and the classes that they use."""

    node: Node
    init: list[tuple[str, Expr]] = field(default_factory=list)
    forward: list[tuple[str, Expr]] = field(default_factory=list)
    logical: list[Logical] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Variable:
    """The variable that holds a node's value, and how many members lie along its first axis.

    `cuts` are the sizes of the parts into which it is split for its readers, if it is.
    """

    name: str
    size: int = 1
    cuts: tuple[int, ...] = ()

    @property
    def parts(self) -> str:
        """The variable that holds the tuple of the parts: e_meta_SKBD -> e_meta."""
        return self.name.rpartition("_")[0]


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a node finds its columns in what a projection made.

    `variable` holds [size, B, each * columns of one]; it is node `index` of the `each` in `group`.
    """

    variable: str
    size: int
    each: int
    group: int
    index: int


class Scope(dict[str, Variable]):
    """The variables by node, the columns of projections by node and purpose.

    `asked` collects which members are read as a slice, so that a second run can split there.
    """

    def __init__(self, cuts: Mapping[str, tuple[int, ...]] | None = None) -> None:
        super().__init__()
        self.cuts = cuts or {}
        self.columns: dict[tuple[str, str], Columns] = {}
        self.asked: dict[str, set[tuple[int, int]]] = {}
        self.taken: set[str] = set()

    def fresh(self, name: str) -> str:
        """The name, or one like it that no other variable has."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def add(self, node: str, name: str, size: int) -> Variable:
        """A batch's variable, with the parts that are asked of it."""
        self[node] = Variable(name, size, self.cuts.get(node, ()))
        return self[node]

    def wanted(self) -> dict[str, tuple[int, ...]]:
        """The sizes of the parts that all slices asked for are made of, by node."""
        found = {}
        for node, slices in self.asked.items():
            ends = sorted({0, self[node].size} | {end for pair in slices for end in pair})
            found[node] = tuple(b - a for a, b in pairwise(ends))
        return found
