"""Stage 1, source: one iterative walk over YAML events builds the data and the tree of offsets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import yaml

from homespec.diagnostics import Diagnostic
from homespec.source import file_rules, yaml_rules
from homespec.source.document import Node, Value
from homespec.source.lines import Lines
from homespec.source.odd_keys import is_later_group, odd_key
from homespec.source.scalars import MAX_NUMBER, resolve
from homespec.source.yaml_errors import bad_escape, explain
from homespec.source.yaml_events import events, offset

MAX_VALUES = 50_000
MAX_SCALAR = 65_536
MAX_FINDINGS = 100

ANCHOR = re.compile(r"&[^\s,\[\]{}]+\s+(?![\s#])")
TAG = re.compile(r"!\S*")
LONG_NUMBER = re.compile(rf"[-+]?[0-9.]{{{MAX_NUMBER + 1},}}")
HALF = re.compile("[\ud800-\udfff]")
HALF_ESCAPE = re.compile(r"\\(u|U0000)[dD][89a-fA-F]")
MISLEADING = re.compile("[^\\S ]|[\u00ad\u200b-\u200f\u2060-\u2064]")


class PastLimitError(Exception):
    """Raised to stop the walk when a limit is exceeded."""


@dataclass(slots=True)
class Built:
    """A completed value, its place, the number of values in it and their depth.

    `unknown` marks the value of an alias that could not be resolved.
    """

    value: Value
    node: Node
    count: int = 1
    height: int = 0
    unknown: bool = False


@dataclass(slots=True)
class Open:
    """A mapping or list that has not ended yet; `key` is the key that has no value yet."""

    value: dict[str, Value] | list[Value]
    node: Node
    anchor: str | None
    flow: bool
    count: int = 1
    height: int = 1
    key: Built | None = None
    keys: dict[str, Node] = field(default_factory=dict)


class Composer:
    """The walk over one text; its results are `root`, `scalars` and `diagnostics`."""

    def __init__(self, lines: Lines) -> None:
        """Prepare a walk over the text of `lines`."""
        self.lines = lines
        self.diagnostics: list[Diagnostic] = []
        self.root: Built | None = None
        self.scalars: list[tuple[int, int]] = []
        self._stack: list[Open] = []
        self._anchors: dict[str, Open | Built] = {}
        self._count = 0
        self._documents = 0

    def run(self, events: Iterable[yaml.Event]) -> None:
        """Process all events, or those up to the first one that exceeds a limit."""
        try:
            for event in events:
                self._take(event)
                if len(self.diagnostics) >= MAX_FINDINGS:
                    return
        except PastLimitError:
            pass

    @property
    def has_errors(self) -> bool:
        """Whether the text cannot be used."""
        return any(diagnostic.is_error for diagnostic in self.diagnostics)

    @property
    def mapping(self) -> dict[str, Value] | None:
        """The data of a usable text that is a mapping."""
        data = self.root.value if self.root and not self.has_errors else None
        return data if isinstance(data, dict) else None

    @property
    def last_scalar(self) -> int:
        """The offset of the last key or value."""
        return self.scalars[-1][0] if self.scalars else 0

    def finish_open(self) -> None:
        """Close everything that is open, so that an invalid text has data up to its mistake."""
        while self._stack:
            self._finish(self._stack[-1].node.end)

    @property
    def open_bracket(self) -> int | None:
        """The offset of the innermost bracket that is open.

        A key in a list, as in `[a: 1]`, begins a mapping without braces.
        """
        starts = (o.node.start for o in reversed(self._stack) if o.flow)
        return next((start for start in starts if self.lines.text[start] in "[{"), None)

    def _take(self, event: yaml.Event) -> None:
        start, end = offset(event.start_mark), offset(event.end_mark)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, self._skip_anchor(event.anchor, start, end), end)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._begin(event, self._skip_anchor(event.anchor, start, len(self.lines.text)), end)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._finish(end)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor or "", start, end)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._begin_document(start, end)

    def _begin_document(self, start: int, end: int) -> None:
        self._documents += 1
        if self._documents > 1:
            self.diagnostics += file_rules.several_documents(self.lines.span(start, end))
            raise PastLimitError

    def _scalar(self, event: yaml.ScalarEvent, start: int, end: int) -> None:
        self._reject_tag(event.tag, start)
        self._expand(1, start, end, alias=False)
        plain = event.implicit[0]
        self._check_text(event.value, plain, start, end)
        if start == end:
            start, end = self._place_of_nothing(start)
        else:
            self.scalars.append((start, end))
        value = resolve(event.value) if plain else event.value
        built = Built(value, Node.at(self.lines, start, end))
        if event.anchor is not None:
            self._anchors[event.anchor] = built
        self._add(built, plain)

    def _check_text(self, value: str, plain: bool, start: int, end: int) -> None:
        span = self.lines.span  # most texts are valid and need none
        if len(value) > MAX_SCALAR:
            limit = f"{MAX_SCALAR:,} characters"
            self.diagnostics += file_rules.too_large(span(start, end), "this text", limit)
        elif plain and LONG_NUMBER.fullmatch(value):
            limit = f"{MAX_NUMBER} digits"
            self.diagnostics += file_rules.too_large(span(start, end), "this number", limit)
        elif HALF.search(value) and (escape := HALF_ESCAPE.search(self.lines.text, start, end)):
            self.diagnostics += bad_escape(self.lines, escape.start())
        elif plain and self._is_glued_entry(value, start):
            self.diagnostics += yaml_rules.missing_space(span(start, end), value)

    def _is_glued_entry(self, value: str, start: int) -> bool:
        """Whether `key:value` is alone on its line, where a mapping was intended."""
        parent = self._stack[-1] if self._stack else None
        if parent is None or parent.flow or parent.key is None:
            return False
        is_glued = yaml_rules.GLUED.fullmatch(value) is not None
        return is_glued and self.lines.start_of_line(start) > parent.key.node.end

    def _begin(
        self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, start: int, end: int
    ) -> None:
        self._reject_tag(event.tag, start)
        self._expand(1, start, end, alias=False)
        if len(self._stack) >= yaml_rules.MAX_DEPTH:
            self._too_deep(start, start + 1)
        opened = Open(
            {} if isinstance(event, yaml.MappingStartEvent) else [],
            Node.at(self.lines, start, end),
            event.anchor,
            bool(event.flow_style),
        )
        if event.anchor is not None:
            self._anchors[event.anchor] = opened
        self._stack.append(opened)

    def _finish(self, end: int) -> None:
        done = self._stack.pop()
        if done.flow and self.lines.text[end - 1] in "}]":  # otherwise it ends with its last part
            done.node.end = done.node.key_end = end
        built = Built(done.value, done.node, done.count, done.height)
        if done.anchor is not None and self._anchors.get(done.anchor) is done:
            self._anchors[done.anchor] = built
        self._add(built)

    def _alias(self, name: str, start: int, end: int) -> None:
        target = self._anchors.get(name)
        node = Node.at(self.lines, start, end)
        built = Built(None, node, unknown=True)
        if target is None:
            self.diagnostics += yaml_rules.unknown_alias(node.span, name, self._anchors)
        elif isinstance(target, Open):
            at = self.lines.text.rfind(f"&{name}", 0, start)
            anchor = self.lines.span(at, at + 1 + len(name))
            self.diagnostics += yaml_rules.alias_cycle(node.span, name, anchor)
        else:
            self._expand(target.count, start, end, alias=True)
            if len(self._stack) + target.height > yaml_rules.MAX_DEPTH:
                self._too_deep(start, end)
            node.parts = target.node.parts
            built = Built(target.value, node, target.count, target.height)
        self._add(built)

    def _add(self, built: Built, plain: bool = False) -> None:
        """Put a completed value in its place: as the root, an item, a key or a key's value."""
        if not self._stack:
            self.root = self.root or built
            return
        parent = self._stack[-1]
        parent.count += built.count
        parent.height = max(parent.height, built.height + 1)
        parent.node.end = parent.node.key_end = max(parent.node.end, built.node.end)
        if isinstance(parent.value, list):
            parent.node.parts[len(parent.value)] = built.node
            parent.value.append(built.value)
        elif parent.key is None:
            self._check_key(parent, built, plain)
            parent.key = built
        else:
            self._set(parent, parent.value, parent.key, built)
            parent.key = None

    def _set(self, parent: Open, value: dict[str, Value], key: Built, built: Built) -> None:
        """Add a key and its value; of two equal keys, the first stays."""
        node = built.node
        node.key_start, node.key_end = key.node.start, key.node.end
        if isinstance(key.value, str) and key.value not in value:
            value[key.value] = built.value
            parent.node.parts[key.value] = node

    def _check_key(self, parent: Open, key: Built, plain: bool) -> None:
        node = key.node
        if not isinstance(key.value, str):
            if not key.unknown and not is_later_group(node):
                self.diagnostics += yaml_rules.key_not_string(node.span, *odd_key(key.value, node))
            return
        if plain:
            self._check_plain_key(key.value, node)
        first = parent.keys.setdefault(key.value, node)
        if first is not node:
            self.diagnostics += yaml_rules.duplicate_key(node.span, key.value, first.span)

    def _check_plain_key(self, key: str, node: Node) -> None:
        glued = self.lines.text[node.start : node.end + 2]
        if glued.endswith((":{", ":[")):  # libyaml rejects this and PyYAML accepts it
            span = self.lines.span(node.start, node.end + 2)
            self.diagnostics += yaml_rules.missing_space(span, glued)
        elif yaml_rules.GLUED.match(key):
            self.diagnostics += yaml_rules.missing_space(node.span, key)
        elif odd := MISLEADING.search(self.lines.text, node.start, node.end):
            span = self.lines.span(*odd.span())
            self.diagnostics += file_rules.forbidden_character(span, odd.group())

    def _reject_tag(self, tag: str | None, start: int) -> None:
        if tag is None:
            return
        written = TAG.search(self.lines.text, max(0, start))
        span = self.lines.span(*written.span()) if written else self.lines.span(start, start)
        self.diagnostics += yaml_rules.unsupported_tag(span, written.group() if written else tag)

    def _expand(self, count: int, start: int, end: int, alias: bool) -> None:
        """Count values; those of an alias count each time."""
        self._count += count
        if self._count <= MAX_VALUES:
            return
        span = self.lines.span(start, end)
        if alias:
            self.diagnostics += yaml_rules.alias_bomb(span, MAX_VALUES)
        else:
            self.diagnostics += file_rules.too_large(span, "the file", f"{MAX_VALUES:,} values")
        raise PastLimitError

    def _too_deep(self, start: int, end: int) -> None:
        self.diagnostics += yaml_rules.too_deep(self.lines.span(start, end), yaml_rules.MAX_DEPTH)
        raise PastLimitError

    def _place_of_nothing(self, start: int) -> tuple[int, int]:
        """The place of a missing value: its key, else the position where it should be."""
        parent = self._stack[-1] if self._stack else None
        if parent is not None and parent.key is not None:
            return parent.key.node.start, parent.key.node.end
        return start, start

    def _skip_anchor(self, anchor: str | None, start: int, end: int) -> int:
        """The first character of a value, after its anchor."""
        if anchor is None:
            return start
        match = ANCHOR.match(self.lines.text, start, end)
        return match.end() if match else start


def composed(lines: Lines) -> Composer:
    """The composer of a text, stopped at its end or at the first YAML error."""
    composer = Composer(lines)
    try:
        composer.run(events(lines.text))
    except yaml.MarkedYAMLError as error:
        composer.diagnostics += explain(error, lines, composer.last_scalar, composer.open_bracket)
    return composer
