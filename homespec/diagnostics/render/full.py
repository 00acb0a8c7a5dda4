"""Diagnostics: the format `full`, for people: message, place, source with carets, remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from homespec.diagnostics.diagnostic import Diagnostic, Report, Severity, Span
from homespec.diagnostics.render.color import Paint, painter
from homespec.diagnostics.render.snippet import Mark, snippet
from homespec.diagnostics.render.terminal import COMMAND, count, named, printable

LINE_BREAK = re.compile(r"\r\n|\r|\n")


def render(report: Report, color: bool = False) -> str:
    """Each diagnostic with its source, then a summary; empty for an empty report."""
    if not report.diagnostics:
        return ""
    paint = painter(color)
    texts = {file: LINE_BREAK.split(text) for file, text in report.texts.items() if text}
    blocks = ["\n".join(_block(d, texts, paint)) for d in report.diagnostics]
    return "\n\n".join([*blocks, summary(report, paint)]) + "\n"


def summary(report: Report, paint: Paint) -> str:
    """The summary: `2 errors, 1 warning, 3 notes in 1 file`."""
    counts = [
        paint(count(number, severity), severity)
        for severity in Severity
        if (number := report.count(severity))
    ]
    files = {diagnostic.span.file for diagnostic in report.diagnostics}
    return f"{', '.join(counts)} in {count(len(files), 'file')}"


def _block(diagnostic: Diagnostic, texts: dict[str, list[str]], paint: Paint) -> Iterator[str]:
    rule = diagnostic.rule
    head = paint(f"{rule.severity}[{rule.code}]", rule.severity)
    yield f"{head} {paint(f'{rule.name}: {printable(diagnostic.message)}', 'strong')}"
    marks = [
        Mark(diagnostic.span, diagnostic.label, rule.severity, True),
        *(Mark(label.span, label.text, "place", False) for label in diagnostic.related),
    ]
    gutter = len(str(max(mark.span.start.line for mark in marks)))
    for file in dict.fromkeys(mark.span.file for mark in marks):
        here = [mark for mark in marks if mark.span.file == file]
        yield from _excerpt(texts.get(file), here, gutter, paint)
    if diagnostic.help:
        yield from _help(diagnostic.help, gutter, paint, bar=diagnostic.span.file in texts)


def _excerpt(
    lines: Sequence[str] | None, marks: list[Mark], gutter: int, paint: Paint
) -> Iterator[str]:
    """The place, with its source if the file is text."""
    arrow = "-->" if marks[0].primary else ":::"
    place = where(marks[0].span) if lines else named(marks[0].span.file)
    yield f"{' ' * gutter}{paint(arrow, 'place')} {place}"
    if lines:
        yield from snippet(lines, marks, gutter, paint)


def where(span: Span) -> str:
    """A place in the form `file:line:column`."""
    return f"{named(span.file)}:{span.start.line}:{span.start.column}"


def _help(text: str, gutter: int, paint: Paint, bar: bool) -> Iterator[str]:
    if bar:
        yield paint(" " * gutter + " |", "place")
    head = f"{' ' * gutter} {paint('=', 'place')} {paint('help', 'help')}: "
    indent = " " * (gutter + len(" = help: "))
    first, *more = text.splitlines()
    yield head + printable(first)
    bars = ("| " if line.lstrip().startswith(COMMAND) else "" for line in more)
    yield from (indent + bar + printable(line) for bar, line in zip(bars, more, strict=True))
