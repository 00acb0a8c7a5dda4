"""Stage 7, emit: a node's part of the generated file, and the values that nodes exchange."""

from __future__ import annotations

from dataclasses import dataclass, field

from homespec.emit.layout import Expr
from homespec.graph.nodes import Batch, Node


class Attribute(str):
    """`self.name`: the attribute of a layer that holds a module."""

    __slots__ = ()


@dataclass(slots=True)
class Block:
    """Lines for `__init__`, lines for `forward`, and the classes that they use."""

    node: Node
    init: list[tuple[str, Expr]] = field(default_factory=list)
    forward: list[tuple[str, Expr]] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined(Batch):
    """Batches of projections of groups of different sizes; `runs` are these sizes."""

    runs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """The variable of a plain file that holds a node's value."""

    name: str


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of an optimised file: `size` members along its first axis.

    `scope` is the layer that computes it under the name `name`; a layer that reads it takes it as
    the argument `argument`. `width` is that of a member of a state.
    """

    scope: str
    name: str
    size: int
    argument: str = ""
    width: str = ""
    shape: str = ""
    """Its shape, where that is another one."""


@dataclass(frozen=True, slots=True)
class Head:
    """A node's part of a projection's result: `count` members of a value from `start`."""

    value: Value
    start: int
    count: int
