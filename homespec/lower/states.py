"""Stage 4, lower: the values that nodes of the task tree pass from layer to layer."""

from __future__ import annotations

from dataclasses import dataclass

from homespec.graph.nodes import Port


@dataclass(frozen=True, slots=True)
class State:
    """The representation R_k of a tree node, each value of it of this width.

    It is several values where the experts of the next layer read one each.
    """

    ports: tuple[Port, ...]
    width: int

    @property
    def total(self) -> int:
        """Width of the values' concatenation."""
        return self.width * len(self.ports)
