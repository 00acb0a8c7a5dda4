"""What the positions of a tensor's axis belong to."""

from __future__ import annotations

import functools
from typing import Literal, NamedTuple

Label = tuple[str | int | float, ...]
Role = Literal["input", "choice", "rank", "rows", "channels"]
"""The role of an axis: the input of a layer, the choices of a gate, the rank of a LoRA, the rows of
a table, or channels of a width without parts."""


class Part(NamedTuple):
    """Consecutive positions of an axis that belong to one thing.

    A part that `grows` keeps its first ones.
    """

    label: Label
    size: int
    grows: bool = False


class Axis(NamedTuple):
    """An axis of a tensor: its parts in order."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Length of the axis."""
        return sum([part.size for part in self.parts])


@functools.cache
def whole(role: Role, size: int) -> Axis:
    """An axis whose parts do not matter."""
    return Axis(role, (Part(("all",), size),))


@functools.cache
def channels(name: str, size: int) -> Axis:
    """A width without parts: it is kept completely or dropped."""
    return Axis("channels", (Part((name,), size),))
