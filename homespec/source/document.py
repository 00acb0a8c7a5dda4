"""Stage 1, source: the resulting document, which knows the place of each of its keys and values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from homespec.diagnostics import Diagnostic, Span
from homespec.source.lines import Lines

OVERRIDES = "--set"
"""The file name in spans of values that come from a flag of the command line."""

Value: TypeAlias = "dict[str, Value] | list[Value] | str | int | float | bool | None"


@dataclass(slots=True)
class Node:
    """A value's place in the text: the offsets of the value and of its key, and its parts.

    It holds offsets, because only the few places that a diagnostic points to become spans. An item
    of a list has no key; `key_start` and `key_end` are then those of the value.
    """

    lines: Lines = field(repr=False, compare=False)
    start: int
    end: int
    key_start: int
    key_end: int
    parts: dict[str | int, Node] = field(default_factory=dict)

    @property
    def span(self) -> Span:
        """The characters of the value."""
        return self.lines.span(self.start, self.end)

    @property
    def key_span(self) -> Span:
        """The characters of its key."""
        return self.lines.span(self.key_start, self.key_end)

    @staticmethod
    def at(lines: Lines, start: int, end: int) -> Node:
        """A value without a key."""
        return Node(lines, start, end, start, end)


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment `# homespec: ...` as it is written, and whether it is alone on its line."""

    span: Span
    text: str
    alone: bool


@dataclass(frozen=True, slots=True)
class Document:
    """A spec file: its text, its data and the place of each part of the data.

    `data` is None if and only if a diagnostic is an error. Do not modify it: aliased parts are
    shared objects. `bases` are the files that it extends, nearest first, and `overrides` the
    changes from the command line; both are merged into `data` and `root`.
    """

    lines: Lines
    data: dict[str, Value] | None
    root: Node
    comments: tuple[Comment, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    bases: tuple[Document, ...] = ()
    overrides: tuple[str, ...] = ()
    entries: dict[str, str] = field(default_factory=dict)
    """The entry of the file that declares each feature with `columns`, by the feature's name."""

    @property
    def file(self) -> str:
        """The name of the file, as the user gave it."""
        return self.lines.file

    @property
    def text(self) -> str:
        """The text; empty if the file could not be read as text."""
        return self.lines.text

    @property
    def texts(self) -> dict[str, str]:
        """The text of each file of the document, its own first."""
        texts = {document.file: document.text for document in (self, *self.bases)}
        return texts | ({OVERRIDES: "\n".join(self.overrides)} if self.overrides else {})

    def failed(self, diagnostics: Iterable[Diagnostic]) -> Document:
        """The document without data, and why."""
        return replace(self, data=None, diagnostics=(*self.diagnostics, *diagnostics))

    def span(self, path: Iterable[str | int], key: bool = False) -> Span:
        """The place of the value (or of the key) at `path`.

        Segments that the document does not have are skipped: pydantic's locations name the members
        of unions, and a missing key is best shown at the mapping that lacks it. The root's key is
        the document's first key.
        """
        node = self.node(path)
        return node.key_span if key else node.span

    def node(self, path: Iterable[str | int]) -> Node:
        """The part of the document at `path`, without the segments that it does not have."""
        node = self.root
        for segment in path:
            node = node.parts.get(segment, node)
        return node

    def as_written(self, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """`path` in the file, where a feature from `columns` is the entry that lists it."""
        if len(path) > 1 and path[0] == "features":
            return "features", self.entries.get(str(path[1]), path[1]), *path[2:]
        return path

    def existing(self, path: Iterable[str | int]) -> tuple[str | int, ...]:
        """`path` without the segments that the document does not have."""
        node, segments = self.root, []
        for segment in path:
            if segment in node.parts:
                node = node.parts[segment]
                segments.append(segment)
        return tuple(segments)

    def has(self, path: tuple[str | int, ...]) -> bool:
        """Whether the document has every segment of `path`."""
        return self.existing(path) == path
