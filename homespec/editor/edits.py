"""Editor: changes of a text, and how they are applied."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from homespec.editor.cursor import Path
from homespec.source import Document, Node


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """The characters of a file from `start` to `end`, offsets of its text, become `text`."""

    file: str
    start: int
    end: int
    text: str


def applied(text: str, edits: Iterable[Edit]) -> str:
    """A text with edits of it, which do not overlap."""
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


class CannotEditError(ValueError):
    """The text is written in a way that has no small edit; the message says why."""


def node_at(root: Node, path: Path) -> Node:
    """The node at a path that is there."""
    for segment in path:
        root = root.parts[segment]
    return root


def insert_key(document: Document, path: Path, entry: str) -> Edit:
    """The edit that puts `KEY: VALUE` first into the mapping at a path, however it is written.

    Raises CannotEditError for an alias, whose mapping belongs to others as well.
    """
    node, text = node_at(document.root, path), document.text
    if text[node.start : node.start + 1] == "*":
        raise CannotEditError(f"`{path[-1]}` is an alias: write its value out first")
    if node.parts and text[node.start] != "{":
        first = min(node.parts.values(), key=lambda part: part.key_start)
        column = first.key_start - node.lines.start_of_line(first.key_start)
        return Edit(document.file, first.key_start, first.key_start, f"{entry}\n{' ' * column}")
    if text[node.start : node.start + 1] == "{":
        separator = ", " if node.parts else ""
        return Edit(document.file, node.start + 1, node.start + 1, entry + separator)
    colon = text.find(":", node.key_end) + 1  # `follow:` has no value
    if not colon or node.start != node.key_start:
        raise CannotEditError("there is no mapping to put it into")
    return Edit(document.file, colon, colon, f" {{{entry}}}")


def set_entry(document: Document, path: Path, entry: str) -> Edit:
    """The edit that gives a mapping `KEY: VALUE`, in place of a value that the key has there."""
    key, _, value = entry.partition(": ")
    old = node_at(document.root, path).parts.get(key)
    if old is None or old.start == old.key_start:
        return insert_key(document, path, entry)
    if "\n" in document.text[old.start : old.end]:
        raise CannotEditError(f"`{key}` has lines of its own")
    return Edit(document.file, old.start, old.end, value)


def remove_entry(document: Document, path: Path) -> Edit:
    """The edit that takes a key with its value, or an item of a list, out of a text."""
    node, text = node_at(document.root, path), document.text
    start, end = node.key_start, max(node.end, node.key_end)
    line = node.lines.start_of_line(start)
    rest = re.compile(r"[ \t]*(#[^\n]*)?(\n|\Z)").match(text, end)
    if rest and re.fullmatch(r"[ \t]*(- )?[ \t]*", text[line:start]):  # it has its lines to itself
        return Edit(document.file, line, rest.end(), "")
    if comma := re.compile(r"[ \t]*,\s*").match(text, end):
        return Edit(document.file, start, comma.end(), "")
    before = re.search(r",\s*\Z", text[:start])
    return Edit(document.file, before.start() if before else start, end, "")
