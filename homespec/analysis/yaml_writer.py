"""Writes keys, values and comments as YAML that stage 1 reads back as the same values."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homespec.source.scalars import resolve

WIDTH = 98
COMMENTS = 44
"""Column at which comments start, if the line leaves room."""

PLAIN = re.compile(r"[^\W\d]([\w ./<>=!+-]*[\w.])?")
"""Texts that need no quotes anywhere, unless they read as another type."""

UNPRINTABLE = re.compile(
    r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\U000e0000-\U0010ffff]"
)
"""Characters that JSON leaves as they are, but that YAML requires to be escaped, or that reorder
the text of a spec."""


@dataclass(frozen=True, slots=True)
class Line:
    """A key with its value and a comment. The value None means that the key has none."""

    key: str
    value: Any
    comment: str


@dataclass(frozen=True, slots=True)
class Section:
    """A key with entries below it.

    The entries of a list are sections, whose keys become comments.
    """

    key: str
    entries: Sequence[Entry]
    is_list: bool = False


Entry = Line | Section


def as_data(entries: Iterable[Entry]) -> dict[str, Any]:
    """The same mapping as plain data."""
    return {entry.key: _value(entry) for entry in entries if _is_given(entry)}


def _is_given(entry: Entry) -> bool:
    return entry.value is not None if isinstance(entry, Line) else bool(entry.entries)


def _value(entry: Entry) -> Any:
    if isinstance(entry, Line):
        return entry.value
    if entry.is_list:
        return [_value(item) for item in entry.entries]
    return as_data(entry.entries)


def write(entries: Iterable[Entry], indent: str = "") -> Iterator[str]:
    """The lines of a mapping."""
    for entry in entries:
        if isinstance(entry, Line):
            yield from _line(entry, indent)
        elif entry.entries:
            yield f"{indent}{scalar(entry.key)}:"
            below = _items if entry.is_list else write
            yield from below(entry.entries, indent + "  ")


def _items(sections: Iterable[Entry], indent: str) -> Iterator[str]:
    """The lines of a list of mappings."""
    for section in sections:
        assert isinstance(section, Section)
        first, *rest = write(section.entries, indent + "  ")
        yield f"{indent}# {section.key}"
        yield f"{indent}- {first.lstrip()}"
        yield from rest


def _line(line: Line, indent: str) -> Iterator[str]:
    """A key and its value, which moves below the key if the line is too long."""
    if line.value is None:
        yield _commented(f"{indent}# {line.key}: unknown", line.comment)
        return
    start, value = f"{indent}{scalar(line.key)}:", flow(line.value)
    if len(start) + len(value) < WIDTH or "  " in value:  # a line break would lose a double space
        yield _commented(f"{start} {value}", line.comment)
        return
    yield _commented(start, line.comment)
    yield from textwrap.wrap(
        value,
        WIDTH,
        initial_indent=indent + "  ",
        subsequent_indent=indent + "   ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _commented(text: str, comment: str) -> str:
    return f"{text.ljust(COMMENTS)}  # {comment}"


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str):
        return scalar(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{scalar(k)}: {flow(v)}' for k, v in value.items())}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(flow, value))}]"
    return str(value)


def scalar(text: str) -> str:
    """A text, quoted if it would otherwise be read as another type."""
    if PLAIN.fullmatch(text) and resolve(text) == text:
        return text
    return UNPRINTABLE.sub(_escaped, json.dumps(text, ensure_ascii=False))


def _escaped(match: re.Match[str]) -> str:
    return f"\\U{ord(match[0]):08x}"
