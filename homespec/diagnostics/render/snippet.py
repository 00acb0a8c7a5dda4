"""Diagnostics: lines of source with carets and labels below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from homespec.diagnostics.diagnostic import Span
from homespec.diagnostics.render.color import Paint
from homespec.diagnostics.render.terminal import printable, shown, width

MAX_SHOWN = 160
CONTEXT = 60
"""A line longer than MAX_SHOWN is shown in part, starting CONTEXT before its first mark."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A span to mark: with carets if it is the diagnostic's own place, else with dashes."""

    span: Span
    text: str
    role: str
    primary: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """A mark on one line, in columns of the terminal."""

    start: int
    end: int
    mark: Mark

    def overlaps(self, other: Bar) -> bool:
        """Whether both cover a common column."""
        return self.start < other.end and other.start < self.end


class Row:
    """A line of the terminal to draw on; each column has a role."""

    def __init__(self) -> None:
        """Create an empty row."""
        self._cells: list[tuple[str, str]] = []

    def put(self, column: int, text: str, role: str) -> None:
        """Draw `text` starting at `column`, over existing text."""
        missing = column + len(text) - len(self._cells)
        self._cells += [(" ", "")] * missing
        self._cells[column : column + len(text)] = [(char, role) for char in text]

    def painted(self, paint: Paint) -> str:
        """The row with colours; neighbouring columns with the same role are painted together."""
        runs = groupby(self._cells, key=itemgetter(1))
        return "".join(paint("".join(char for char, _ in run), role) for role, run in runs)


def snippet(
    lines: Sequence[str], marks: Sequence[Mark], gutter: int, paint: Paint
) -> Iterator[str]:
    """The marked lines of one file, each after its number, with `...` where lines are left out."""
    bar = paint(" " * gutter + " |", "place")
    yield bar
    before = 0
    for number in sorted({mark.span.start.line for mark in marks}):
        if before and number == before + 2:
            between = _line(lines, before + 1)[:MAX_SHOWN]
            yield _numbered(before + 1, between, gutter, paint)
        elif before and number > before + 2:
            yield paint("...", "place")
        here = [mark for mark in marks if mark.span.start.line == number]
        line, bars = _layout(_line(lines, number), here)
        yield _numbered(number, line, gutter, paint)
        yield from (f"{bar} {row.painted(paint)}" for row in _rows(bars))
        before = number


def _line(lines: Sequence[str], number: int) -> str:
    return lines[number - 1] if number <= len(lines) else ""


def _numbered(number: int, line: str, gutter: int, paint: Paint) -> str:
    return f"{paint(f'{number:>{gutter}} |', 'place')} {printable(line)}".rstrip()


def _layout(line: str, marks: Sequence[Mark]) -> tuple[str, list[Bar]]:
    """The part of a line to show, and its marks in columns of that part."""
    first = min(mark.span.start.column for mark in marks) - 1
    left = max(0, first - CONTEXT) if len(line) > MAX_SHOWN else 0
    part = line[left : left + MAX_SHOWN]
    head = "…" if left else ""
    bars = []
    for mark in marks:
        start, end = _columns(line, mark.span)
        start, end = (min(max(at - left, 0), len(part)) for at in (start, end))
        column = width(head) + _shown_width(part[:start])
        length = _shown_width(part[start:end])
        bars.append(Bar(column, column + max(length, 1), mark))
    cut = head + part + ("…" if left + MAX_SHOWN < len(line) else "")
    return cut, sorted(bars, key=lambda bar: (bar.start, bar.mark.primary))


def _columns(line: str, span: Span) -> tuple[int, int]:
    """The part of a line that a span covers; for a span of several lines, in its first line."""
    start = span.start.column - 1
    if span.end.line == span.start.line:
        return start, span.end.column - 1
    return start, len(line.rstrip())


def _shown_width(text: str) -> int:
    return sum(width(shown(char)) for char in text)


def _rows(bars: list[Bar]) -> Iterator[Row]:
    """The lines below a source line: the marks, then the labels that do not fit beside them."""
    marks = Row()
    for bar in sorted(bars, key=lambda bar: bar.mark.primary):
        marks.put(
            bar.start, ("^" if bar.mark.primary else "-") * (bar.end - bar.start), bar.mark.role
        )
    last = max(bars, key=lambda bar: bar.end)
    beside = not any(last.overlaps(bar) for bar in bars if bar is not last)
    if beside and last.mark.text:
        marks.put(last.end + 1, printable(last.mark.text), last.mark.role)
    yield marks
    hanging = [bar for bar in bars if bar.mark.text and not (beside and bar is last)]
    if hanging:
        yield _stems(hanging)
    while hanging:
        bar = hanging.pop()
        row = _stems(hanging)
        row.put(bar.start, printable(bar.mark.text), bar.mark.role)
        yield row


def _stems(bars: list[Bar]) -> Row:
    row = Row()
    for bar in bars:
        row.put(bar.start, "|", bar.mark.role)
    return row
