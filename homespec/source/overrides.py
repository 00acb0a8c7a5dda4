"""Stage 1, source: `--set PATH=VALUE`, changes of a document from the command line.

The overrides are a file of their own, `--set`, one in each line, so that messages show an override
with a caret under the characters that are wrong.
"""

from __future__ import annotations

import dataclasses
import re

import yaml

from homespec.diagnostics import Diagnostic, Severity
from homespec.source import extends_rules
from homespec.source.composer import Composer
from homespec.source.document import OVERRIDES, Document, Node, Value
from homespec.source.events import events
from homespec.source.lines import Lines
from homespec.source.merge import merged

FORM = re.compile(r"(?P<path>[^\s=.]+(\.[^\s=.]+)*)=(?P<value>.*)")


MAX_LENGTH = 1000
MAX_NAMES = 16
"""So many names a path has at most: the language is not that deep."""


def check_override(override: str) -> str:
    """The override itself. Raises ValueError if it has no form `PATH=VALUE`."""
    if not override.isprintable():
        raise ValueError("it has characters that cannot be seen")
    if len(override) > MAX_LENGTH:
        raise ValueError(
            f"it is longer than {MAX_LENGTH} characters: put it into a file that extends"
        )
    if not FORM.fullmatch(override) or override.partition("=")[0].count(".") >= MAX_NAMES:
        raise ValueError(f"`{override}` is not of the form PATH=VALUE, such as gates.self=false")
    if override.startswith("extends="):
        raise ValueError("`extends` says what a file is made of: set it in the file")
    return override


def with_overrides(document: Document, overrides: tuple[str, ...]) -> Document:
    """The document with the overrides laid over it, one after the other."""
    lines = Lines(OVERRIDES, "\n".join(map(check_override, overrides)))
    document = dataclasses.replace(document, overrides=overrides)
    for start, override in zip(lines.starts, overrides, strict=False):
        if document.data is not None:
            document = _with_override(document, lines, start, override)
    return document


def _with_override(document: Document, lines: Lines, start: int, override: str) -> Document:
    match = FORM.fullmatch(override)
    assert match is not None
    value, found = _value(lines, start + match.start("value"), start + len(override))
    if value is None:
        return dataclasses.replace(document, data=None, diagnostics=(*document.diagnostics, *found))
    steps = _steps(match["path"], start, lines)
    try:
        data, root = _laid(document.data, document.root, steps, *value, ())
    except LookupError as error:
        step, problem = error.args
        found = extends_rules.unknown_item(lines.span(step.start, step.end), match["path"], problem)
        return dataclasses.replace(document, data=None, diagnostics=(*document.diagnostics, *found))
    assert isinstance(data, dict)
    return dataclasses.replace(document, data=data, root=root)


def _value(
    lines: Lines, start: int, end: int
) -> tuple[tuple[Value, Node] | None, list[Diagnostic]]:
    """The value of an override, read in place: all around it is blank, so offsets stay true."""
    blank = re.sub(r"[^\n]", " ", lines.text)
    text = blank[:start] + lines.text[start:end]
    composer = Composer(Lines(lines.file, text))
    try:
        composer.run(events(text))
    except yaml.MarkedYAMLError as error:
        from homespec.source.yaml_errors import explain

        composer.diagnostics += explain(
            error, composer.lines, composer.last_scalar, composer.open_bracket
        )
    if any(d.rule.severity is Severity.ERROR for d in composer.diagnostics):
        return None, composer.diagnostics
    if composer.root is None:
        return (None, Node.at(lines, start, end)), []
    return (composer.root.value, composer.root.node), []


@dataclasses.dataclass(frozen=True, slots=True)
class _Step:
    """One name of an override's path, and where it stands."""

    name: str
    start: int
    end: int


def _steps(path: str, start: int, lines: Lines) -> list[_Step]:
    return [
        _Step(m.group(), start + m.start(), start + m.end()) for m in re.finditer(r"[^.]+", path)
    ]


def _laid(
    below: Value,
    under: Node,
    steps: list[_Step],
    value: Value,
    node: Node,
    path: tuple[str, ...],
) -> tuple[Value, Node]:
    """`value` laid over the data at the end of `steps`."""
    if not steps:
        return merged(below, value, under, node, path)
    step, rest = steps[0], steps[1:]
    if isinstance(below, list):
        return _laid_in_list(below, under, step, rest, value, node, path)
    inner = (*path, step.name)
    if isinstance(below, dict) and step.name in below:
        above, over = _laid(below[step.name], under.parts[step.name], rest, value, node, inner)
    elif rest:
        above, over = _laid({}, dataclasses.replace(node, parts={}), rest, value, node, inner)
    else:
        above, over = value, node
    over = _keyed(over, step)
    if isinstance(below, dict) and above is None and step.name in below:  # null takes it away
        data = {key: item for key, item in below.items() if key != step.name}
        parts = {key: part for key, part in under.parts.items() if key != step.name}
        return data, dataclasses.replace(under, parts=parts)
    if isinstance(below, dict):
        parts = {**under.parts, step.name: over}
        return {**below, step.name: above}, dataclasses.replace(under, parts=parts)
    alone = Node(node.lines, node.start, node.end, step.start, step.end, {step.name: over})
    return merged(below, {step.name: above}, under, alone, path)


def _laid_in_list(
    below: list[Value],
    under: Node,
    step: _Step,
    rest: list[_Step],
    value: Value,
    node: Node,
    path: tuple[str, ...],
) -> tuple[Value, Node]:
    index = int(step.name) if re.fullmatch("[0-9]{1,6}", step.name) else -1
    if not 0 <= index < len(below):
        raise LookupError(step, f"it has {len(below)} items")
    item, place = _laid(below[index], under.parts[index], rest, value, node, (*path, step.name))
    data = [*below[:index], item, *below[index + 1 :]]
    return data, dataclasses.replace(under, parts={**under.parts, index: place})


def _keyed(node: Node, step: _Step) -> Node:
    """The place of a value whose key is a step of an override's path, if the override gives it."""
    if node.lines.file != OVERRIDES:
        return node
    return dataclasses.replace(node, key_start=step.start, key_end=step.end)
