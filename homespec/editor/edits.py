"""Editor: edits of a text, and how to apply them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from homespec.editor.cursor import Path
from homespec.source import Document, Node

ANCHOR = re.compile(r"&([^\s,\[\]{}]+)\s*\Z")
AFTER = re.compile(r"[ \t]*(#[^\r\n]*)?(\r\n|\r|\n|\Z)")
"""Characters that may follow an entry that has its lines to itself, up to the next line."""


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Replaces the characters from `start` to `end` of a file, offsets of its text, by `text`."""

    file: str
    start: int
    end: int
    text: str


def applied(text: str, edits: Iterable[Edit]) -> str:
    """Apply edits that do not overlap to a text."""
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


class CannotEditError(ValueError):
    """Raised for text that no small edit can change; the message says why."""


def node_at(root: Node, path: Path) -> Node:
    """The node at a path that exists."""
    for segment in path:
        root = root.parts[segment]
    return root


def insert_key(document: Document, path: Path, entry: str) -> Edit:
    """The edit that inserts `KEY: VALUE` at the beginning of the mapping at a path, in its style.

    Raises CannotEditError for an alias, or for a mapping that has one, because it also belongs
    elsewhere.
    """
    node, text = node_at(document.root, path), document.text
    if text[node.start : node.start + 1] == "*":
        raise CannotEditError(f"`{path[-1]}` is an alias: write out its value first")
    anchor = ANCHOR.search(text, node.key_end, node.start)
    if anchor and re.search(rf"\*{re.escape(anchor[1])}(?![^\s,\[\]{{}}])", text):
        raise CannotEditError(
            f"`{path[-1]}` has the alias `*{anchor[1]}`: write it out there first"
        )
    if node.parts and text[node.start] != "{":
        first = min(node.parts.values(), key=lambda part: part.key_start)
        column = first.key_start - node.lines.start_of_line(first.key_start)
        return Edit(document.file, first.key_start, first.key_start, f"{entry}\n{' ' * column}")
    if text[node.start : node.start + 1] == "{":
        separator = ", " if node.parts else ""
        return Edit(document.file, node.start + 1, node.start + 1, entry + separator)
    colon = text.find(":", node.key_end) + 1  # `follow:` has no value
    if not colon or node.start != node.key_start:
        raise CannotEditError("there is no mapping to add it to")
    return Edit(document.file, colon, colon, f" {{{entry}}}")


def set_entry(document: Document, path: Path, entry: str, marked: Path = ()) -> Edit:
    """The edit that gives a mapping `KEY: VALUE`, replacing a value that the key has there.

    Raises CannotEditError if this would lose existing items or keys, unless `marked` is the path of
    that value: a diagnostic that marks a value concerns all of it.
    """
    key, _, value = entry.partition(": ")
    old = node_at(document.root, path).parts.get(key)
    if old is None or old.start == old.key_start:
        return insert_key(document, path, entry)
    if "\n" in document.text[old.start : old.end]:
        raise CannotEditError(f"`{key}` has lines of its own")
    if marked != (*path, key) and not _kept(document, old, value):
        raise CannotEditError(f"`{key}` has more in it")
    return Edit(document.file, old.start, old.end, value)


def _kept(document: Document, old: Node, value: str) -> bool:
    """Whether a new value also has the items of a list, or the keys of a mapping."""
    words = re.findall(r"[^\s,:\[\]{}\"']+", value)
    items = (
        k if isinstance(k, str) else document.text[p.start : p.end] for k, p in old.parts.items()
    )
    return all(item.strip("\"'") in words for item in items)


def remove_entry(document: Document, path: Path) -> Edit:
    """The edit that removes a key with its value, or an item of a list, from a text."""
    node, text = node_at(document.root, path), document.text
    start, end = node.key_start, max(node.end, node.key_end)
    line = node.lines.start_of_line(start)
    rest = AFTER.match(text, end)
    if rest and re.fullmatch(r"[ \t]*(- )?[ \t]*", text[line:start]):  # it has its lines to itself
        return Edit(document.file, line, rest.end(), "")
    if comma := re.compile(r"[ \t]*,\s*").match(text, end):
        return Edit(document.file, start, comma.end(), "")
    before = re.search(r",\s*\Z", text[:start])
    return Edit(document.file, before.start() if before else start, end, "")
