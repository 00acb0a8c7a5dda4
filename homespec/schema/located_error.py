"""Stage 2, schema: an error of pydantic with its place, the input of the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homespec.diagnostics import Span
from homespec.source import Document

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class LocatedError:
    """A pydantic error with its place in the document: `path` exists there, `wanted` is its end."""

    document: Document
    path: Path
    on_key: bool
    kind: str
    message: str
    context: dict[str, Any]
    value: Any
    wanted: str

    @property
    def span(self) -> Span:
        """The span of the wrong key or value."""
        return self.document.span(self.path, key=self.on_key)

    @property
    def key_span(self) -> Span:
        """The span of the wrong value's key; that of the document at the top."""
        return self.document.span(self.path, key=bool(self.path))

    @property
    def where(self) -> str:
        """The place in words: `experts.meta.shared`."""
        return dotted(self.path if self.on_key else self.document.as_written(self.path))


def dotted(path: Path) -> str:
    """A path in the usual notation: `groups.watch[0]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "the spec"


def shown(value: Any) -> str:
    """A value in a message, cut to a readable length."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:37] + "…"


def written(value: Any) -> str:
    """A value as it is written in flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def type_name(value: Any) -> str:
    """The name of a value's type in YAML."""
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "a list",
        tuple: "a list",
        dict: "a mapping",
        type(None): "nothing",
    }
    return names.get(type(value), type(value).__name__)
