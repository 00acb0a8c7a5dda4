"""Editor: finds the part of a document at an offset of its text."""

from __future__ import annotations

from dataclasses import dataclass

from homespec.source import Node, Value

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Cursor:
    """The innermost key or value at an offset."""

    path: Path
    node: Node
    on_key: bool

    @property
    def range(self) -> tuple[int, int]:
        """The offsets of the key or value."""
        if self.on_key:
            return self.node.key_start, self.node.key_end
        return self.node.start, self.node.end


def cursor_at(root: Node, offset: int) -> Cursor:
    """The part at `offset`; the root if there is no smaller one."""
    path: Path = ()
    node = root
    while True:
        inner = next((part for part in node.parts.items() if _holds(part[1], offset)), None)
        if inner is None:
            return Cursor(path, node, on_key=False)
        segment, node = inner
        path = (*path, segment)
        if isinstance(segment, str) and node.key_start <= offset <= node.key_end:
            return Cursor(path, node, on_key=True)


def _holds(node: Node, offset: int) -> bool:
    """Whether a part, from its key to its end, contains an offset."""
    return node.key_start <= offset <= max(node.end, node.key_end)


def value_at(value: Value, segment: str | int) -> Value:
    """The part of a mapping or list at a key or index; None if there is none."""
    if isinstance(value, list) and isinstance(segment, int):
        return value[segment]
    return value.get(segment) if isinstance(value, dict) and isinstance(segment, str) else None
