"""Stage 1, source: `--set PATH=VALUE`, which changes a document from the command line.

The overrides form a file named `--set` with one on each line, so that messages can show an override
with carets under the mistake.
"""

from __future__ import annotations

import dataclasses
import re

from homespec.source import extends_rules
from homespec.source.composer import Composer, composed
from homespec.source.document import OVERRIDES, Document, Node, Value
from homespec.source.lines import Lines
from homespec.source.merge import merged

FORM = re.compile(r"(?P<path>[^\s=.]+(\.[^\s=.]+)*)=(?P<value>.*)")


MAX_LENGTH = 1000
MAX_NAMES = 16
"""Maximum number of names in a path; the language is less deep."""


def check_override(override: str) -> str:
    """The override itself. Raises ValueError if it is not of the form `PATH=VALUE`."""
    if not override.isprintable():
        raise ValueError("it contains invisible characters")
    if len(override) > MAX_LENGTH:
        raise ValueError(
            f"it is longer than {MAX_LENGTH} characters: write it in a file that extends the spec"
        )
    if not FORM.fullmatch(override) or override.partition("=")[0].count(".") >= MAX_NAMES:
        raise ValueError(f"`{override}` is not of the form PATH=VALUE, such as gates.self=false")
    if override.startswith("extends="):
        raise ValueError("`extends` can only be set in the file itself")
    return override


def with_overrides(document: Document, overrides: tuple[str, ...]) -> Document:
    """The document with the overrides merged over it, one after the other."""
    lines = Lines(OVERRIDES, "\n".join(map(check_override, overrides)))
    document = dataclasses.replace(document, overrides=overrides)
    for start, override in zip(lines.starts, overrides, strict=False):
        if document.data is not None:
            document = _with_override(document, lines, start, override)
    return document


def _with_override(document: Document, lines: Lines, start: int, override: str) -> Document:
    match = FORM.fullmatch(override)
    assert match is not None
    value = _value(lines, start + match.start("value"), start + len(override))
    if value.has_errors:
        return document.failed(value.diagnostics)
    steps = [
        _Step(m.group(), start + m.start(), start + m.end())
        for m in re.finditer(r"[^.]+", match["path"])
    ]
    nothing = Node.at(lines, start + match.start("value"), start + len(override))
    placed = (value.root.value, value.root.node) if value.root else (None, nothing)
    try:
        data, root = _laid(document.data, document.root, steps, *placed, ())
    except LookupError as error:
        step, problem = error.args
        span = lines.span(step.start, step.end)
        return document.failed(extends_rules.unknown_item(span, match["path"], problem))
    assert isinstance(data, dict)
    return dataclasses.replace(document, data=data, root=root)


def _value(lines: Lines, start: int, end: int) -> Composer:
    """The value of an override.

    The text before it is replaced by blanks, so that offsets stay correct.
    """
    blank = re.sub(r"[^\n]", " ", lines.text)
    return composed(Lines(lines.file, blank[:start] + lines.text[start:end]))


@dataclasses.dataclass(frozen=True, slots=True)
class _Step:
    """One name of an override's path, and its place."""

    name: str
    start: int
    end: int


def _laid(
    below: Value, under: Node, steps: list[_Step], value: Value, node: Node, path: tuple[str, ...]
) -> tuple[Value, Node]:
    """`value` merged over the data at the end of `steps`."""
    if not steps:
        return merged(below, value, under, node, path)
    (step, *rest), inner = steps, (*path, steps[0].name)
    if isinstance(below, list):
        index = int(step.name) if re.fullmatch("[0-9]{1,6}", step.name) else -1
        if not 0 <= index < len(below):
            raise LookupError(step, f"it has {len(below)} items")
        item, place = _laid(below[index], under.parts[index], rest, value, node, inner)
        parts = {**under.parts, index: place}
        return [*below[:index], item, *below[index + 1 :]], dataclasses.replace(under, parts=parts)
    is_there = isinstance(below, dict) and step.name in below
    if isinstance(below, dict) and step.name in below:
        above, over = _laid(below[step.name], under.parts[step.name], rest, value, node, inner)
    elif rest:
        above, over = _laid({}, dataclasses.replace(node, parts={}), rest, value, node, inner)
    else:
        above, over = value, node
    if over.lines.file == OVERRIDES:  # the step is its key
        over = dataclasses.replace(over, key_start=step.start, key_end=step.end)
    if not isinstance(below, dict):
        alone = Node(node.lines, node.start, node.end, step.start, step.end, {step.name: over})
        return merged(below, {step.name: above}, under, alone, path)
    data, parts = {**below, step.name: above}, {**under.parts, step.name: over}
    if is_there and above is None:  # null removes it
        del data[step.name], parts[step.name]
    return data, dataclasses.replace(under, parts=parts)
