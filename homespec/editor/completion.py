"""Editor: completions at the cursor: keys, words and names.

A spec that is being written is seldom valid YAML. So a marker replaces the word at the cursor, once
as a key and once as a value, and the rest of the text counts as far as it can be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from homespec.editor.cursor import Path, value_at
from homespec.editor.mentions import declared, places_at
from homespec.schema.jsonschema import examples_at, properties_at, scalars_at
from homespec.source import Document, Node, Value
from homespec.source.columns import with_columns
from homespec.source.composer import Composer, composed
from homespec.source.lines import Lines

MARKER = "homespecCursor"

WORD_BEFORE = re.compile(r"[\w./-]*\Z")
WORD_AFTER = re.compile(r"[\w./-]*")

ItemKind = Literal["key", "word", "name", "example"]


@dataclass(frozen=True, slots=True)
class Item:
    """A completion: the text, its kind, and the documentation that is shown beside it."""

    text: str
    kind: ItemKind
    documentation: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """The items at a cursor, and the offsets of the word that they replace."""

    start: int
    end: int
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Spot:
    """The path of the marker, the data around it, and all data, with a feature for each column."""

    path: Path
    on_key: bool
    siblings: Value
    data: Value


def complete(text: str, offset: int, sound: Value = None) -> Completion:
    """Completions at `offset`. `sound` is the data of the spec when it was last readable.

    `sound` includes the specs that it extends, so names that a base declares are also offered.
    """
    before = WORD_BEFORE.search(text, 0, offset)
    after = WORD_AFTER.match(text, offset)
    start, end = (before.start() if before else offset), (after.end() if after else offset)
    if "#" in re.split(r"[\n]", text[:start])[-1]:
        return Completion(start, end)
    spot = _spot(text, start, end)
    return Completion(start, end, tuple(_items(spot, sound)) if spot else ())


def _items(spot: Spot, sound: Value) -> Iterator[Item]:
    found = _keys(spot) if spot.on_key else _values(spot)
    names = list(_names(spot, sound))
    yield from names
    yield from (item for item in found if item.text.rstrip(": ") not in {n.text for n in names})


def _keys(spot: Spot) -> Iterator[Item]:
    """The keys of the language that the mapping does not have yet."""
    there = spot.siblings if isinstance(spot.siblings, dict) else {}
    for key, schema in properties_at(spot.path[:-1]).items():
        if key not in there:
            yield Item(f"{key}: ", "key", str(schema.get("description", "")))


def _values(spot: Spot) -> Iterator[Item]:
    words = scalars_at(spot.path)
    yield from (Item(word, "word") for word in words)
    for example in examples_at(spot.path):
        shown = str(example).lower() if isinstance(example, bool) else str(example)
        if shown not in words and isinstance(example, str | int | float):
            yield Item(shown, "example")


def _names(spot: Spot, sound: Value) -> Iterator[Item]:
    """The declared names that may be mentioned here, beginning with those that are not yet."""
    for place in places_at(spot.path, spot.on_key):
        if place.declares:
            continue
        here = spot.siblings if isinstance(spot.siblings, list | dict) else ()
        names = [*place.words]
        for kind in place.kinds:
            names += [*declared(spot.data, kind), *declared(sound, kind)]
        grouped = _grouped(spot.data) if spot.path[0] == "groups" else set()
        taken = {MARKER, *spot.path[1:2]}  # a declaration here does not name itself
        free = [name for name in dict.fromkeys(names) if name not in here and name not in taken]
        suffix = ": " if place.on_key else ""
        for name in sorted(free, key=lambda name: name in grouped):
            yield Item(name + suffix, "name")


def _grouped(data: Value) -> set[Value]:
    """The tasks and groups that are already members: each can be in only one group."""
    groups = data.get("groups") if isinstance(data, dict) else None
    members: set[Value] = set()
    for group in groups.values() if isinstance(groups, dict) else ():
        inner = group.get("members") if isinstance(group, dict) else group
        members |= {m for m in inner if isinstance(m, str)} if isinstance(inner, list) else set()
    return members


# ------------------------------------------------------------------ where the cursor is


def _spot(text: str, start: int, end: int) -> Spot | None:
    """The place of the word from `start` to `end`, from the first reading that contains it."""
    rest = text[end:]
    line_end = re.search(r"\n|\Z", rest)
    after = rest[: line_end.start()] if line_end else ""
    colon = "" if after.lstrip().startswith(":") else ":"
    readings = [MARKER + colon, MARKER]
    if _is_value(text[:start]):
        readings.reverse()
    for reading in readings:
        for tail in (rest, after, ""):
            spot = _found(_read(text[:start] + reading + _spaced(reading, tail)))
            if spot:
                return spot
    return None


def _spaced(reading: str, tail: str) -> str:
    return f" {tail}" if reading.endswith(":") and tail[:1] not in ("", "\n", " ") else tail


def _is_value(before: str) -> bool:
    """Whether a value is more likely than a key after this text."""
    line = before.rsplit("\n", 1)[-1]
    if re.search(r":[ \t]+$|^[ \t]*-[ \t]+$", line):
        return True
    opened = [mark for mark in line if mark in "[]{}"]
    while "]" in opened or "}" in opened:
        at = next(i for i, mark in enumerate(opened) if mark in "]}")
        del opened[max(0, at - 1) : at + 1]
    return bool(opened) and opened[-1] == "["


def _read(text: str) -> Composer:
    """The composer of a text; if it is not YAML, of the part before the mistake."""
    composer = composed(Lines("", text))
    composer.finish_open()
    return composer


def _found(composer: Composer) -> Spot | None:
    root = composer.root
    if root is None:
        return None
    steps = _marked(root.node, root.value, ())
    if steps is None:
        return None
    path, on_key = steps
    siblings = root.value
    for segment in path[:-1]:
        siblings = value_at(siblings, segment)
    document = Document(
        Lines("", ""), root.value if isinstance(root.value, dict) else None, root.node
    )
    return Spot(path, on_key, siblings, with_columns(document).data or root.value)


def _marked(node: Node, value: Value, path: Path) -> tuple[Path, bool] | None:
    """The path of the marker, and whether it is a key."""
    for segment, part in node.parts.items():
        here = (*path, segment)
        if segment == MARKER:
            return here, True
        inner = value_at(value, segment)
        if inner == MARKER:
            return here, False
        if isinstance(inner, dict | list) and (found := _marked(part, inner, here)):
            return found
    return None
