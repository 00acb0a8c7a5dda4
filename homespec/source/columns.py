"""Stage 1, source: expands entries of features with `columns` to a feature for each column.

This happens after bases and flags have been merged into a document, so that later stages see plain
features. The place of a feature is that of the entry, and the place of its name is that of its
column in the list, so that messages point there.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from homespec.diagnostics import Diagnostic
from homespec.diagnostics.registry import REST
from homespec.source import column_rules
from homespec.source.document import Document, Node, Value

MAX_COLUMNS = 1024
"""Maximum number of features of an entry or a spec, as in the schema."""
MAX_LENGTH = 200

RANGE = re.compile(
    r"(?P<stem>.*?)(?P<low>[0-9]{1,9})(?P<tail>(?:[^0-9.][^.]*)?)\.\.(?P=stem)(?P<high>[0-9]{1,9})"
    r"(?P=tail)"
)
"""`C1..C26`, `f01..f39`, `I1_log..I13_log`."""


class ColumnsError(Exception):
    """Raised for invalid `columns`, with the place, the reason and a remedy."""

    def __init__(self, node: Node, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.node, self.reason, self.remedy = node, reason, remedy


@dataclass(frozen=True, slots=True)
class Column:
    """A feature's name, its column if it has another name, and the place that declares it."""

    name: str
    node: Node
    column: str = ""


def with_columns(document: Document) -> Document:
    """The document with a feature for each column of the entries that have `columns`."""
    features = (document.data or {}).get("features")
    if not isinstance(features, dict) or not any(map(_has_columns, features.values())):
        return document
    expansion = _Expansion(features, document.root.parts["features"])
    try:
        for name in features:
            expansion.add(name)
    except ColumnsError as error:
        span = error.node.span
        return document.failed(column_rules.bad_columns(span, error.reason, error.remedy))
    if expansion.diagnostics:
        return document.failed(expansion.diagnostics)
    assert document.data is not None
    whole = dataclasses.replace(expansion.node, parts=expansion.parts)
    root = dataclasses.replace(document.root, parts={**document.root.parts, "features": whole})
    data = {**document.data, "features": expansion.data}
    return dataclasses.replace(document, data=data, root=root, entries=expansion.entries)


def _has_columns(entry: Value) -> bool:
    return isinstance(entry, dict) and "columns" in entry


class _Expansion:
    """The features so far."""

    def __init__(self, features: dict[str, Value], node: Node) -> None:
        self.features, self.node = features, node
        self.data: dict[str, Value] = {}
        self.parts: dict[str | int, Node] = {}
        self.entries: dict[str, str] = {}
        self.diagnostics: list[Diagnostic] = []

    def add(self, name: str) -> None:
        """Add an entry under its name, or each of its columns. Raises ColumnsError."""
        entry, node = self.features[name], self.node.parts[name]
        if not isinstance(entry, dict) or "columns" not in entry:
            self._enter(name, entry, node, "")
            return
        _check_alone(node, entry)
        options: dict[str, Value] = {k: v for k, v in entry.items() if k != "columns"}
        parts = {k: part for k, part in node.parts.items() if k != "columns"}
        for column in columns_of(entry["columns"], node.parts["columns"]):
            if len(self.data) >= MAX_COLUMNS:
                reason = f"with this entry the spec has more than {MAX_COLUMNS:,} features"
                raise ColumnsError(node.parts["columns"], reason, "list fewer columns")
            at = _placed(node, column.node)
            own = {**options, "column": column.column} if column.column else options
            at.parts = {**parts, "column": column.node} if column.column else parts
            self._enter(column.name, own, at, name)

    def _enter(self, name: str, entry: Value, node: Node, source: str) -> None:
        if name in self.data:
            first = self.parts[name].key_span
            one, other = self.entries.get(name, ""), source
            self.diagnostics += column_rules.repeated_column(
                node.key_span, name, first, other or one, bool(one and other)
            )
            return
        self.data[name], self.parts[name] = entry, node
        if source:
            self.entries[name] = source


def _check_alone(node: Node, entry: dict[str, Value]) -> None:
    for key in ("column", "was"):
        if key in entry:
            reason = f"`{key}` is for one feature, but an entry with `columns` is several"
            raise ColumnsError(node.parts[key], reason, f"remove `{key}`")
    if "cross" in entry:
        reason = "a cross has no column: it is computed from the two ids of `of`"
        raise ColumnsError(node.parts["columns"], reason, "remove `columns`, and name both in `of`")


def _placed(entry: Node, column: Node) -> Node:
    """The place of a feature: that of the entry, with its column as the key if they are close."""
    if column.lines is not entry.lines:
        column = Node(entry.lines, entry.key_start, entry.key_end, 0, 0)
    return Node(entry.lines, entry.start, entry.end, column.start, column.end)


# ---------------------------------------------------------------- values of `columns`


def columns_of(value: Value, node: Node) -> Iterator[Column]:
    """The columns of a list, a range, or a mapping of names to columns. Raises ColumnsError."""
    if isinstance(value, dict) and value:
        for name, column in value.items():
            part = node.parts[name]
            text = _text(column, part, name)
            key = dataclasses.replace(part, start=part.key_start, end=part.key_end)
            yield Column(name, key, text)
        return
    items = value if isinstance(value, list) else [value]
    for index, item in enumerate(items):
        place = node.parts[index] if isinstance(value, list) else node
        for name in names_of(_text(item, place), place):
            yield Column(name, place)
    if not items:
        raise ColumnsError(node, "it is empty", "list the columns, such as [C1, C2]")


def _text(value: Value, node: Node, name: str = "") -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_LENGTH:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        what = "quote it" if name else "name it, and quote the column"
        remedy = f'{what}: `columns: {{{name or f"c{value}"}: "{value}"}}`'
        raise ColumnsError(node, f"{value} is a number, not a name", remedy)
    remedy = "write a list such as [C1, C2], a range such as C1..C26, or {name: column}"
    raise ColumnsError(node, "it is not the name of a column", remedy)


def names_of(text: str, node: Node) -> Iterator[str]:
    """The name itself, or the names of a range. Raises ColumnsError for an invalid range."""
    match = RANGE.fullmatch(text)
    if match is None:
        if better := _meant(text):
            said = "several names" if "list," in better else "not a valid range"
            raise ColumnsError(node, f"`{text}` is {said}", better)
        yield text
        return
    stem, low, high, tail = match["stem"], match["low"], match["high"], match["tail"]
    width = len(low) if low.startswith("0") else 0
    if width and len(high) != width:
        reason = f"{low} and {high} do not have the same number of digits"
        raise ColumnsError(node, reason, f"write `{text.replace(low, str(int(low)), 1)}`")
    first, last = int(low), int(high)
    if first > last:
        remedy = f"write `{stem}{high}{tail}..{stem}{low}{tail}`"
        raise ColumnsError(node, f"the range counts down, from {first} to {last}", remedy)
    if last - first >= MAX_COLUMNS:
        reason = f"the range has {last - first + 1:,} columns, and a spec at most {MAX_COLUMNS:,}"
        raise ColumnsError(node, reason, "correct its ends, or declare a vector with `dense: n`")
    yield from (f"{stem}{number:0{width}}{tail}" for number in range(first, last + 1))


GUESSES = (
    re.compile(r"(?P<stem>\w*?)[\[{(](?P<low>[0-9]+)(-|:|,|\.{2,3}|~)(?P<high>[0-9]+)[\]})]"),
    re.compile(r"(?P<stem>\w*?)(?P<low>[0-9]+) ?(-|:|\.{2,3}|~|to|–) ?(?P=stem)?(?P<high>[0-9]+)"),
)
"""`C[1-26]`, `C{1..26}`; `C1-C26`, `C1:26`, `C1...C26`."""


def _meant(text: str) -> str:
    """What to write in place of a text that looks like several columns; "" for a name."""
    for guess in GUESSES:
        if match := guess.fullmatch(text):
            stem = match["stem"]
            return f"write `{stem}{match['low']}..{stem}{match['high']}`"
    if re.fullmatch(r"\w+(\.\.\w+)?( ?[,;] ?\w+(\.\.\w+)?)+", text):
        return f"write a list, `columns: [{', '.join(re.split(' ?[,;] ?', text))}]`"
    if "*" in text or "?" in text:
        return "wildcards are not supported: write a range such as C1..C26, or a list"
    if ".." in text:
        return "write the name with the first and with the last number: `C1..C26`"
    return ""


# ---------------------------------------------------------------- one cause, one message


def together(document: Document, diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Merge diagnostics that differ only in the column of an entry, and count the others."""
    if not document.entries:
        return list(diagnostics)
    found: dict[object, Diagnostic] = {}
    others: dict[object, list[Diagnostic]] = {}
    for each in diagnostics:
        name = _named(document, each.message)
        entry = document.entries.get(name, "")
        key: object = (each.rule.code, entry, _without(each.message, name)) if entry else id(each)
        if key in found:
            others.setdefault(key, []).append(each)
        else:
            found[key] = _once(each)
    return [_counted(document, each, others.get(key, [])) for key, each in found.items()]


def _once(diagnostic: Diagnostic) -> Diagnostic:
    """The diagnostic without repeated labels: all columns of a range have the same place."""
    return dataclasses.replace(diagnostic, related=tuple(dict.fromkeys(diagnostic.related)))


def _named(document: Document, message: str) -> str:
    """The first feature of an entry that a message names in quotes, maybe as part of a path."""
    quoted = " ".join(re.findall(r"`[^`]*`|'[^']*'", message))
    return next((word for word in re.findall(r"\w+", quoted) if word in document.entries), "")


def _without(message: str, name: str) -> str:
    return re.sub(rf"\b{re.escape(name)}\b", "\0", message)


def _counted(document: Document, diagnostic: Diagnostic, others: list[Diagnostic]) -> Diagnostic:
    if not others:
        return diagnostic
    names = [_named(document, other.message) for other in others]
    shown = ", ".join(f"`{name}`" for name in names[:3])
    least = "at least " if any(REST in other.help for other in others) else ""
    more = f" and {least}{len(names) - 3} more" if len(names) > 3 else ""
    entry = document.entries[names[0]]
    message = f"{diagnostic.message}; the same applies to {shown}{more} of `{entry}`"
    return dataclasses.replace(diagnostic, message=message)
