"""The line of a spec that declares the old name of a task, group or feature."""

from __future__ import annotations

from homespec.diagnostics import Span
from homespec.resolve.layers import Path
from homespec.source import Document


def was_line(document: Document, path: Path, old: str) -> str:
    """Where to write the line, and the line: `in line 9:`, `like: {was: fav, label: x}`."""
    if document.has((*path, "was")):
        return _replaced(document, document.span((*path, "was")), old)
    span = document.span(path)
    line, start = _line(document, span), span.start.column - 1
    rest = line[start:]
    if rest.startswith("{"):
        comma = "" if rest[1:].lstrip().startswith("}") else ", "
        return _said(document, span, line[:start] + "{was: " + old + comma + rest[1:])
    if rest.startswith("[") and span.end.line == span.start.line:
        end = span.end.column - 1
        members = f"{{was: {old}, members: {line[start:end]}}}"
        return _said(document, span, line[:start] + members + line[end:])
    return _added(document, path, old)


def _line(document: Document, span: Span) -> str:
    return document.texts[span.file].splitlines()[span.start.line - 1]


def _said(document: Document, span: Span, line: str, where: str = "in") -> str:
    file = "" if span.file == document.file else f" of {span.file}"
    return f"{where} line {span.start.line}{file}:\n{line.strip()}"


def _replaced(document: Document, span: Span, old: str) -> str:
    line = _line(document, span)
    return _said(document, span, line[: span.start.column - 1] + old + line[span.end.column - 1 :])


def _added(document: Document, path: Path, old: str) -> str:
    """A line below the key, or a new line for the key if there is nothing below it."""
    key = document.span(path, key=True)
    value: object = document.data
    for step in path:
        value = value[step] if isinstance(value, dict) else None
    if isinstance(value, dict):
        return _said(document, key, f"was: {old}", "below")
    members = "" if value is None else ", members: […]"
    return _said(document, key, f"{path[-1]}: {{was: {old}{members}}}")
