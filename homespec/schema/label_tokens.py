"""Stage 2, schema: splits the text of a label into words and signs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

MAX_LENGTH = 1000

Kind = Literal["word", "number", "text", "column", "op", "sign", "end"]

_TOKEN = re.compile(
    r"""(?P<blank>[ \t]+)
    |(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
    |(?P<word>[^\W\d][\w.]*)
    |(?P<text>"[^"]*"|'[^']*')
    |(?P<column>`[^`]*`)
    |(?P<op>[<>=!]{1,3})
    |(?P<sign>[-+*/(),&|]|\[|\])""",
    re.VERBOSE,
)
"""Alternatives are unambiguous, so that the time is proportional to the length of the text."""


class LabelError(ValueError):
    """A mistake in a label, and its place: `length` characters from `at`."""

    def __init__(self, reason: str, at: int = 0, length: int = 0) -> None:
        super().__init__(reason)
        self.at, self.length = at, length


@dataclass(frozen=True, slots=True)
class Token:
    """A word or sign: its value without quotes, and its place."""

    kind: Kind
    value: str
    at: int
    length: int

    def wrong(self, reason: str) -> LabelError:
        """The error for an unexpected token."""
        return LabelError(reason, self.at, self.length)

    @property
    def shown(self) -> str:
        """The token in words."""
        return "the end" if self.kind == "end" else f"`{self.value}`"


def tokens(text: str) -> Iterator[Token]:
    """The words and signs, then one of kind "end". Raises LabelError."""
    if len(text) > MAX_LENGTH:
        raise LabelError(f"it has {len(text)} characters, but only {MAX_LENGTH} are allowed")
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unknown(text, at)
        if match.lastgroup != "blank":
            yield _token(match)
        at = match.end()
    yield Token("end", "", len(text), 1)


def _token(match: re.Match[str]) -> Token:
    kind, text = cast("Kind", match.lastgroup), match[0]
    value = text[1:-1] if kind in ("text", "column") else text
    return Token(kind, value, match.start(), len(text))


def _unknown(text: str, at: int) -> LabelError:
    sign = text[at]
    if sign in "\"'`":
        what = "column" if sign == "`" else "text"
        return LabelError(f"the {what} that begins here is not closed by {sign}", at, 1)
    return LabelError(f"`{sign}` has no meaning in a label", at, 1)
