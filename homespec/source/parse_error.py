"""Stage 1, source: a parser's error, together with the text around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from homespec.diagnostics import Span
from homespec.source.lines import Lines

WORD = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class ParseError:
    """What a parser said: the problem, its offset, and where what it was reading begins.

    `scalar` is where the last key or value before it begins, `bracket` where the innermost
    bracket stands that is still open.
    """

    lines: Lines
    problem: str
    context: str
    at: int
    start: int
    scalar: int
    bracket: int | None

    @property
    def text(self) -> str:
        """The whole text of the file."""
        return self.lines.text

    @property
    def char(self) -> str:
        """The character at the problem, empty at the end of the file."""
        return self.text[self.at : self.at + 1]

    @property
    def before(self) -> str:
        """The line of the problem, up to it."""
        return self.text[self.lines.start_of_line(self.at) : self.at]

    @property
    def at_end(self) -> bool:
        """Whether nothing but blanks and line breaks follows."""
        return not self.text[self.at :].strip()

    def span(self, start: int, end: int | None = None) -> Span:
        """The span from `start`; without an `end` up to the end of the word there."""
        if end is None:
            word = WORD.match(self.text, start)
            end = word.end() if word else min(start + 1, len(self.text))
        return self.lines.span(start, end)

    def line_before(self, offset: int) -> int | None:
        """Offset of the first character of the nearest line above that says something."""
        above = self.text[: self.lines.start_of_line(offset)]
        said = [m.start(1) for m in re.finditer(r"^[ ]*([^\s#])", above, re.MULTILINE)]
        return said[-1] if said else None
