"""Editor: fixes of diagnostics, made from their remedies and verified by the compiler.

A remedy is a sentence. Its quoted parts are tried as edits. An edit becomes a fix only if it
removes the diagnostic and causes no new error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from homespec.diagnostics import Diagnostic, Severity, Span
from homespec.editor.cursor import Cursor, Path, cursor_at
from homespec.editor.edits import (
    CannotEditError,
    Edit,
    applied,
    insert_key,
    remove_entry,
    set_entry,
)
from homespec.editor.open_specs import OpenSpecs
from homespec.source import Document
from homespec.source.lines import Lines
from homespec.source.roots import real

MAX_TRIED = 6
ENTRY = re.compile(r"[a-z_]+(?:\.[a-z_]+)*: \S.*")
REPLACES = re.compile(
    r"^(did you mean|write|use|it can be|the stacked form)|for example|(?<!declared )(are|be) `",
    re.IGNORECASE,
)
"""Remedies whose quoted words replace the marked text."""
REMOVES = re.compile(r"(remove|leave out) ((it|them|one of)\b|`(?P<key>[^`:]+)(: [^`]*)?`)")
WITH = re.compile(r"with `((?:label|column): [^`]+)`")
"""Text that a remedy appends to another name."""
QUOTED = re.compile(r"`([^`\n]{1,80})`")


@dataclass(frozen=True, slots=True)
class Fix:
    """A fix: its title in the editor's menu, and its edits."""

    title: str
    edits: tuple[Edit, ...]


def fixes(file: str, diagnostic: Diagnostic, specs: OpenSpecs) -> Iterator[Fix]:
    """The fixes of a diagnostic of a spec: first those that correct it, then how to ignore it."""
    document = specs.own(diagnostic.span.file)
    if diagnostic.help:
        for fix in list(_candidates(document, diagnostic))[:MAX_TRIED]:
            if _mends(file, diagnostic, fix, specs):
                yield fix
    if diagnostic.rule.severity is not Severity.ERROR:
        yield _ignored(document, diagnostic)


def offsets(lines: Lines, span: Span) -> tuple[int, int]:
    """The offsets of a span in its text."""
    starts = lines.starts
    return (
        starts[span.start.line - 1] + span.start.column - 1,
        starts[span.end.line - 1] + span.end.column - 1,
    )


def _candidates(document: Document, diagnostic: Diagnostic) -> Iterator[Fix]:
    """Edits that the remedy may mean, the most likely first; few of them are right."""
    start, end = offsets(document.lines, diagnostic.span)
    cursor = cursor_at(document.root, start)
    remedy, written = diagnostic.help, document.text[start:end]
    quoted = list(dict.fromkeys(match[1] for match in QUOTED.finditer(remedy)))
    if removed := REMOVES.match(remedy):
        path = _removed(document, cursor.path, removed["key"], written)
        if path:
            key = written if isinstance(path[-1], int) else path[-1]
            yield Fix(f"Remove `{key}`", (remove_entry(document, path),))
    for entry in filter(ENTRY.fullmatch, quoted):
        yield from _renamed(document, cursor, entry)
        yield from _set(document, cursor.path, entry)
    if REPLACES.search(remedy) and "\n" not in written:
        for word in quoted:
            if word != written and not ENTRY.fullmatch(word):
                edit = Edit(document.file, start, end, word)
                kept = list(_with(document, cursor, remedy, edit))
                yield from kept or [Fix(f"Replace `{written}` with `{word}`", (edit,))]


def _renamed(document: Document, cursor: Cursor, entry: str) -> Iterator[Fix]:
    """Another key for an existing value."""
    node = cursor.node
    key, value = (document.text[slice(*at)] for at in (cursor.range, (node.start, node.end)))
    if cursor.on_key and entry.partition(": ")[2] == value:
        edit = Edit(document.file, node.key_start, node.end, entry)
        yield Fix(f"Replace `{key}` with `{entry}`", (edit,))


def _with(document: Document, cursor: Cursor, remedy: str, edit: Edit) -> Iterator[Fix]:
    """Another name, and the entry that keeps the name's former meaning, such as its column."""
    entry = WITH.search(remedy)
    if entry and cursor.on_key:
        old = document.text[edit.start : edit.end]
        try:
            kept = insert_key(document, cursor.path, entry[1])
        except CannotEditError:
            return
        yield Fix(f"Replace `{old}` with `{edit.text}`, and keep `{entry[1]}`", (edit, kept))


def _removed(document: Document, path: Path, key: str | None, written: str) -> Path:
    """The path that a remedy removes: the marked part, or a key in it or beside it; () if none."""
    if key is None or key in (written, *path[-1:]):
        return path
    found = ((*place, key) for place in (path, path[:-1]) if document.has((*place, key)))
    return next(found, ())


def _set(document: Document, path: Path, entry: str) -> Iterator[Fix]:
    """`KEY: VALUE` in the mapping at a path or around it; dotted keys begin at the root."""
    steps, _, value = entry.partition(": ")
    *outer, key = steps.split(".")
    places = [path[:length] for length in range(len(path), -1, -1)][:3]
    title = f"Set `{entry}`"
    if outer:
        there = document.existing(outer)
        nested = [*outer[len(there) :], key]
        entry = f"{nested[0]}: " + "".join(f"{{{k}: " for k in nested[1:]) + value
        entry += "}" * (len(nested) - 1)
        places = [there]
    for place in places:
        try:
            yield Fix(title, (set_entry(document, place, entry, path),))
        except CannotEditError:
            continue


def _mends(file: str, diagnostic: Diagnostic, fix: Fix, specs: OpenSpecs) -> bool:
    """Whether the edits remove the diagnostic and cause no error."""
    place = real(diagnostic.span.file)
    text = specs.own(diagnostic.span.file).text
    changed = applied(text, fix.edits)
    after = OpenSpecs(lambda asked: changed if asked == place else specs.buffers(asked))
    known = {(d.rule.code, d.message) for d in specs.report(file).diagnostics}
    found = after.report(file).diagnostics
    if any((d.rule, d.message) == (diagnostic.rule, diagnostic.message) for d in found):
        return False
    new = [d for d in found if (d.rule.code, d.message) not in known]
    if any(d.rule == diagnostic.rule and not _is_far(d, diagnostic) for d in new):
        return False  # the same mistake in other words
    new = [d for d in new if d.is_error]
    return all(d.rule.code[2] > diagnostic.rule.code[2] and _is_far(d, diagnostic) for d in new)


def _is_far(other: Diagnostic, mended: Diagnostic) -> bool:
    """Whether an error of a later stage existed before, hidden by the error that is fixed."""
    return other.span.start.line != mended.span.start.line


def _ignored(document: Document, diagnostic: Diagnostic) -> Fix:
    """A comment that ignores a warning, at the end of its line or on a line above it."""
    start, _ = offsets(document.lines, diagnostic.span)
    line = document.lines.line_at(start)
    begin = document.lines.start_of_line(start)
    comment = f"# homespec: ignore[{diagnostic.rule.name}] say why"
    if "#" in line:
        indent = line[: len(line) - len(line.lstrip())]
        edit = Edit(document.file, begin, begin, f"{indent}{comment}\n")
    else:
        end = begin + len(line.rstrip())
        edit = Edit(document.file, end, end, f"  {comment}")
    return Fix(f"Ignore `{diagnostic.rule.name}` here", (edit,))
