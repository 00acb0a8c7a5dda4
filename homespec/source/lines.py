"""Stage 1, source: converts offsets in a text to lines and columns."""

from __future__ import annotations

import re
from bisect import bisect_right

from homespec.diagnostics import Position, Span

LINE_BREAK = re.compile(r"\r\n|\r|\n")


class Lines:
    """The lines of a file, which end with LF, CR LF or CR, as in YAML and editors."""

    def __init__(self, file: str, text: str) -> None:
        """Find the lines of `text`, the content of `file`."""
        self.file = file
        self.text = text
        self.starts = [0, *(m.end() for m in LINE_BREAK.finditer(text))]

    def position(self, offset: int) -> Position:
        """Line and column of the character at `offset`."""
        line = bisect_right(self.starts, offset)
        return Position(line, offset - self.starts[line - 1] + 1)

    def span(self, start: int, end: int) -> Span:
        """The span of `text[start:end]`."""
        return Span(self.file, self.position(start), self.position(end))

    def start_of_line(self, offset: int) -> int:
        """Offset at which the line of `offset` begins."""
        return self.starts[bisect_right(self.starts, offset) - 1]

    def line_at(self, offset: int) -> str:
        """The line of `offset`, without its line break."""
        return self.rest_of_line(self.start_of_line(offset))

    def rest_of_line(self, offset: int) -> str:
        """The line from `offset` on, without its line break."""
        end = LINE_BREAK.search(self.text, offset)
        return self.text[offset : end.start() if end else None]
