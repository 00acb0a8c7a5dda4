"""What one node of the graph contributes to the generated file."""

from __future__ import annotations

from dataclasses import dataclass, field

from homespec.emit.layout import Expr
from homespec.graph import Node


@dataclass(frozen=True, slots=True)
class Logical:
    """One tensor of the model and the logical names of its parts, which lie along its first axis.

    `axes` fill the braces of `pattern` in turn: names, or a number for 0, 1, …. `table` is the
    constant that gives the parts' names and sizes where these are not one each.
    """

    tensor: str
    pattern: str
    axes: tuple[tuple[str, ...] | int, ...] = ()
    table: str = ""


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
