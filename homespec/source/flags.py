"""Stage 1, source: `--set PATH=VALUE`, changes of a document from the command line.

The flags are a file of their own, `--set`, with a flag a line, so that messages show the flag with
a caret under the characters that are wrong.
"""

from __future__ import annotations

import dataclasses
import re

import yaml

from homespec.diagnostics import Diagnostic, Severity
from homespec.source import compose_rules as rules
from homespec.source.document import FLAG, Document, Node, Value
from homespec.source.events import events
from homespec.source.lines import Lines
from homespec.source.merge import merged
from homespec.source.walk import Walk

FORM = re.compile(r"(?P<path>[^\s=.]+(\.[^\s=.]+)*)=(?P<value>.*)")


LONGEST = 1000
DEEPEST = 16
"""So many names a path has at most: the language is not that deep."""


def check_flag(flag: str) -> str:
    """The flag itself. Raises ValueError if it has no form `PATH=VALUE`."""
    if not flag.isprintable():
        raise ValueError("it has characters that cannot be seen")
    if len(flag) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters: put it into a file that extends")
    if not FORM.fullmatch(flag) or flag.partition("=")[0].count(".") >= DEEPEST:
        raise ValueError(f"`{flag}` is not of the form PATH=VALUE, such as gates.self=false")
    if flag.startswith("extends="):
        raise ValueError("`extends` says what a file is made of: set it in the file")
    return flag


def with_flags(document: Document, flags: tuple[str, ...]) -> Document:
    """The document with the flags laid over it, one after the other."""
    lines = Lines(FLAG, "\n".join(map(check_flag, flags)))
    document = dataclasses.replace(document, flags=flags)
    for start, flag in zip(lines.starts, flags, strict=False):
        if document.data is not None:
            document = _with_flag(document, lines, start, flag)
    return document


def _with_flag(document: Document, lines: Lines, start: int, flag: str) -> Document:
    match = FORM.fullmatch(flag)
    assert match is not None
    value, found = _value(lines, start + match.start("value"), start + len(flag))
    if value is None:
        return dataclasses.replace(document, data=None, diagnostics=(*document.diagnostics, *found))
    steps = _steps(match["path"], start, lines)
    try:
        data, root = _laid(document.data, document.root, steps, *value, ())
    except LookupError as error:
        step, problem = error.args
        found = rules.unknown_item(lines.span(step.start, step.end), match["path"], problem)
        return dataclasses.replace(document, data=None, diagnostics=(*document.diagnostics, *found))
    assert isinstance(data, dict)
    return dataclasses.replace(document, data=data, root=root)


def _value(
    lines: Lines, start: int, end: int
) -> tuple[tuple[Value, Node] | None, list[Diagnostic]]:
    """The value of a flag, read in place: all around it is blank, so offsets stay true."""
    blank = re.sub(r"[^\n]", " ", lines.text)
    text = blank[:start] + lines.text[start:end]
    walk = Walk(Lines(lines.file, text))
    try:
        walk.run(events(text))
    except yaml.MarkedYAMLError as error:
        from homespec.source.syntax import explain

        walk.diagnostics += explain(error, walk.lines, walk.last_scalar, walk.open_bracket)
    if any(d.rule.severity is Severity.ERROR for d in walk.diagnostics):
        return None, walk.diagnostics
    if walk.root is None:
        return (None, Node.at(lines, start, end)), []
    return (walk.root.value, walk.root.node), []


@dataclasses.dataclass(frozen=True, slots=True)
class _Step:
    """One name of a flag's path, and where it stands."""

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
    """The place of a value whose key is a step of a flag's path, if the flag gives the value."""
    if node.lines.file != FLAG:
        return node
    return dataclasses.replace(node, key_start=step.start, key_end=step.end)
