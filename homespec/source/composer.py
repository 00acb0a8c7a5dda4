"""Stage 1, source: one iterative walk over YAML events builds the data and the tree of offsets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import yaml

from homespec.diagnostics import Diagnostic, Span
from homespec.source import file_rules, yaml_rules
from homespec.source.document import Node, Value
from homespec.source.events import offset
from homespec.source.lines import Lines
from homespec.source.scalars import MAX_NUMBER, kind, resolve
from homespec.source.yaml_errors import bad_escape

MAX_VALUES = 50_000
MAX_SCALAR = 65_536
MAX_FINDINGS = 100

ANCHOR = re.compile(r"&[^\s,\[\]{}]+\s+(?![\s#])")
LONG_NUMBER = re.compile(rf"[-+]?[0-9.]{{{MAX_NUMBER + 1},}}")
HALF = re.compile("[\ud800-\udfff]")
HALF_ESCAPE = re.compile(r"\\(u|U0000)[dD][89a-fA-F]")
MISLEADING = re.compile("[^\\S ]|[\u00ad\u200b-\u200f\u2060-\u2064]")


class PastLimitError(Exception):
    """The walk has gone far enough: a limit is passed."""


@dataclass(slots=True)
class Built:
    """A finished value, where it stands, how many values it holds and how deep they nest.

    `unknown` marks what an alias could not be resolved to.
    """

    value: Value
    node: Node
    count: int = 1
    height: int = 0
    unknown: bool = False


@dataclass(slots=True)
class Open:
    """A mapping or list whose end is still to come; `key` is the key that waits for its value."""

    value: dict[str, Value] | list[Value]
    node: Node
    anchor: str | None
    flow: bool
    count: int = 1
    height: int = 1
    key: Built | None = None
    keys: dict[str, Node] = field(default_factory=dict)


class Composer:
    """The walk over one text; afterwards `root`, `scalars` and `diagnostics` hold what it found."""

    def __init__(self, lines: Lines) -> None:
        """Prepare to walk over the text of `lines`."""
        self.lines = lines
        self.diagnostics: list[Diagnostic] = []
        self.root: Built | None = None
        self.scalars: list[tuple[int, int]] = []
        self._stack: list[Open] = []
        self._anchors: dict[str, Open | Built] = {}
        self._count = 0
        self._documents = 0

    def run(self, events: Iterable[yaml.Event]) -> None:
        """Take all events, or those up to the first that passes a limit."""
        try:
            for event in events:
                self._take(event)
                if len(self.diagnostics) >= MAX_FINDINGS:
                    return
        except PastLimitError:
            pass

    @property
    def last_scalar(self) -> int:
        """Where the last key or value begins."""
        return self.scalars[-1][0] if self.scalars else 0

    @property
    def open_bracket(self) -> int | None:
        """Where the innermost bracket stands that is still to be closed.

        A key in a list, as in `[a: 1]`, begins a mapping that has none.
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
            self.diagnostics += file_rules.several_documents(self._span(start, end))
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
        if len(value) > MAX_SCALAR:
            limit = f"{MAX_SCALAR:,} characters"
            found = file_rules.too_large(self._span(start, end), "this text", limit)
        elif plain and LONG_NUMBER.fullmatch(value):
            limit = f"{MAX_NUMBER} digits"
            found = file_rules.too_large(self._span(start, end), "this number", limit)
        elif HALF.search(value) and (escape := HALF_ESCAPE.search(self.lines.text, start, end)):
            found = bad_escape(self.lines, escape.start())
        elif plain and self._is_glued_entry(value, start):
            found = yaml_rules.missing_space(self._span(start, end), value)
        else:
            return
        self.diagnostics += found

    def _is_glued_entry(self, value: str, start: int) -> bool:
        """Whether `key:value` stands on a line of its own, where a mapping was meant."""
        parent = self._stack[-1] if self._stack else None
        if (
            parent is None
            or parent.flow
            or parent.key is None
            or not yaml_rules.GLUED.fullmatch(value)
        ):
            return False
        return self.lines.start_of_line(start) > parent.key.node.end

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
        if done.flow and self.lines.text[end - 1] in "}]":  # else it ends where its last part does
            done.node.end = done.node.key_end = end
        built = Built(done.value, done.node, done.count, done.height)
        if done.anchor is not None and self._anchors.get(done.anchor) is done:
            self._anchors[done.anchor] = built
        self._add(built)

    def _alias(self, name: str, start: int, end: int) -> None:
        target = self._anchors.get(name)
        built = Built(None, Node.at(self.lines, start, end), unknown=True)
        if target is None:
            self.diagnostics += yaml_rules.unknown_alias(
                self._span(start, end), name, self._anchors
            )
        elif isinstance(target, Open):
            at = self.lines.text.rfind(f"&{name}", 0, start)
            anchor = self._span(at, at + 1 + len(name))
            self.diagnostics += yaml_rules.alias_cycle(self._span(start, end), name, anchor)
        else:
            self._expand(target.count, start, end, alias=True)
            if len(self._stack) + target.height > yaml_rules.MAX_DEPTH:
                self._too_deep(start, end)
            node = Node(self.lines, start, end, start, end, target.node.parts)
            built = Built(target.value, node, target.count, target.height)
        self._add(built)

    def _add(self, built: Built, plain: bool = False) -> None:
        """Put a finished value where it belongs: as the root, an item, a key or a key's value."""
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
        """Enter a key and its value; the first of two equal keys stays."""
        node = built.node
        node.key_start, node.key_end = key.node.start, key.node.end
        if isinstance(key.value, str) and key.value not in value:
            value[key.value] = built.value
            parent.node.parts[key.value] = node

    def _check_key(self, parent: Open, key: Built, plain: bool) -> None:
        node = key.node
        if not isinstance(key.value, str):
            if not key.unknown and not _is_later_group(key, self.lines):
                span = self._span(node.start, node.end)
                self.diagnostics += yaml_rules.key_not_string(span, *_odd_key(key, self.lines))
            return
        if plain:
            self._check_plain_key(key.value, node)
        first = parent.keys.setdefault(key.value, node)
        if first is not node:
            place = self._span(first.start, first.end)
            span = self._span(node.start, node.end)
            self.diagnostics += yaml_rules.duplicate_key(span, key.value, place)

    def _check_plain_key(self, key: str, node: Node) -> None:
        glued = self.lines.text[node.start : node.end + 2]
        if glued.endswith((":{", ":[")):  # which libyaml refuses and PyYAML takes
            span = self._span(node.start, node.end + 2)
            self.diagnostics += yaml_rules.missing_space(span, glued)
        elif yaml_rules.GLUED.match(key):
            self.diagnostics += yaml_rules.missing_space(self._span(node.start, node.end), key)
        elif odd := MISLEADING.search(self.lines.text, node.start, node.end):
            place = self._span(odd.start(), odd.end())
            self.diagnostics += file_rules.forbidden_character(place, odd.group())

    def _reject_tag(self, tag: str | None, start: int) -> None:
        if tag is None:
            return
        written = re.compile(r"!\S*").search(self.lines.text, max(0, start))
        span = self._span(written.start(), written.end()) if written else self._span(start, start)
        self.diagnostics += yaml_rules.unsupported_tag(span, written.group() if written else tag)

    def _expand(self, count: int, start: int, end: int, alias: bool) -> None:
        """Count values, those behind aliases each time that they are repeated."""
        self._count += count
        if self._count <= MAX_VALUES:
            return
        span = self._span(start, end)
        self.diagnostics += (
            yaml_rules.alias_bomb(span, MAX_VALUES)
            if alias
            else file_rules.too_large(span, "the file", f"{MAX_VALUES:,} values")
        )
        raise PastLimitError

    def _too_deep(self, start: int, end: int) -> None:
        self.diagnostics += yaml_rules.too_deep(self._span(start, end), yaml_rules.MAX_DEPTH)
        raise PastLimitError

    def _place_of_nothing(self, start: int) -> tuple[int, int]:
        """Where to point for a value that is not there: at its key, else where it would stand."""
        parent = self._stack[-1] if self._stack else None
        if parent is not None and parent.key is not None:
            return parent.key.node.start, parent.key.node.end
        return start, start

    def _skip_anchor(self, anchor: str | None, start: int, end: int) -> int:
        """The first character of a value itself, behind its anchor."""
        if anchor is None:
            return start
        match = ANCHOR.match(self.lines.text, start, end)
        return match.end() if match else start

    def _span(self, start: int, end: int) -> Span:
        return self.lines.span(start, end)


def _odd_key(key: Built, lines: Lines) -> tuple[str, str]:
    """What a key that is no text is, and how to mend it."""
    written = lines.text[key.node.start : key.node.end]
    if isinstance(key.value, (dict, list)):
        template = lines.text[max(0, key.node.start - 1) : key.node.start + 1] == "{{"
        remedy = "specs know no templates; write the value" if template else "write a name"
        return kind(key.value), remedy
    if not written:
        return "empty", "write a name before the colon"
    if number := _number_with_commas(key, lines):
        return kind(key.value), f"write {number}: a comma ends a value"
    if isinstance(key.value, int | float) and not isinstance(key.value, bool):
        name = re.sub(r"\W", "_", f"n{written}", flags=re.ASCII)
        return kind(key.value), (
            f"names begin with a letter: write `{name}`; a feature reads the column by "
            f'`column: "{written}"`'
        )
    return kind(key.value), f'to use it as a name, quote it: "{written}"'


BEFORE, AFTER = re.compile(r"([0-9]{1,3}(?:,[0-9]{3})*),$"), re.compile(r"(?:,[0-9]{3})*(?![0-9])")
MAX_DIGITS = 40


def _number_with_commas(key: Built, lines: Lines) -> str:
    """`1000000` where the key is the `000` of `1,000,000`, which YAML takes for several entries."""
    start, end = key.node.start, key.node.end
    before = BEFORE.search(lines.text[max(0, start - MAX_DIGITS) : start])
    after = AFTER.match(lines.text[end : end + MAX_DIGITS])
    if before is None or after is None or not re.fullmatch("[0-9]{3}", lines.text[start:end]):
        return ""
    return f"{before[1]}{lines.text[start:end]}{after[0]}".replace(",", "")


def _is_later_group(key: Built, lines: Lines) -> bool:
    """Whether the key is the second `000` of such a number, which the first one speaks for."""
    start = key.node.start
    before = BEFORE.search(lines.text[max(0, start - MAX_DIGITS) : start])
    return bool(before and "," in before[1] and _number_with_commas(key, lines))
