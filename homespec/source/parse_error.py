"""Stage 1, source: an error of a YAML parser, with access to the text around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from homespec.diagnostics import Diagnostic, Label, Span
from homespec.source import yaml_rules
from homespec.source.lines import Lines

WORD = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class ParseError:
    """An error of a parser: the problem, its offset, and the start of the part that it was reading.

    `scalar` is the offset of the last key or value before it, `bracket` that of the innermost open
    bracket.
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

    def char_at(self, offset: int) -> Span:
        """The span of one character."""
        return self.lines.span(offset, offset + 1)

    def word_at(self, offset: int) -> Span:
        """The span to the end of the word; one character if there is no word."""
        word = WORD.match(self.text, offset)
        return self.lines.span(offset, word.end() if word else min(offset + 1, len(self.text)))

    def line_before(self, offset: int) -> int | None:
        """Offset of the first character of the nearest line above with contents."""
        above = self.text[: self.lines.start_of_line(offset)]
        starts = [m.start(1) for m in re.finditer(r"^[ ]*([^\s#])", above, re.MULTILINE)]
        return starts[-1] if starts else None

    def quoted(self, offset: int) -> str:
        """The rest of a line in quotes, as a suggestion."""
        words = self.lines.rest_of_line(offset).split(" #")[0].rstrip(" ,]}")
        if "'" in words or '"' in words or not 0 < len(words) <= 40:
            return "'...'"
        return f'"{words}"' if "\\" not in words else f"'{words}'"

    def report(
        self,
        message: str,
        remedy: str = "",
        span: Span | None = None,
        label: str = "",
        related: tuple[Label, ...] = (),
    ) -> list[Diagnostic]:
        """A syntax diagnostic, by default at the problem's character."""
        return yaml_rules.yaml_syntax(
            span or self.char_at(self.at), message, label, related, remedy
        )
