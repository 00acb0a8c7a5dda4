"""What one node of the graph contributes to the generated file."""

from __future__ import annotations

from dataclasses import dataclass, field

from homespec.emit.layout import Expr
from homespec.nodes import Node


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
    """The variable that holds a node's value, and how many members lie along its first axis."""

    name: str
    size: int = 1


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a node finds its columns in what a projection made.

    `variable` holds [size, each * columns of one, B]; it is node `index` of the `each` in `group`.
    """

    variable: str
    size: int
    each: int
    group: int
    index: int


class Scope(dict[str, Variable]):
    """The variables by node, and the columns of projections by purpose and node."""

    def __init__(self) -> None:
        super().__init__()
        self.columns: dict[tuple[str, str], Columns] = {}
        self.taken: set[str] = set()

    def fresh(self, name: str) -> str:
        """The name, or one like it that no other variable has, nor any constant in capitals."""
        while name.upper() in self.taken:
            name += "_"
        self.taken.add(name.upper())
        return name
