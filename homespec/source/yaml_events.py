"""Stage 1, source: YAML events from PyYAML, using libyaml if it is available."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import yaml
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner, ScannerError

if TYPE_CHECKING:
    from yaml._yaml import CParser


class PureParser(Reader, Scanner, Parser):
    """PyYAML's parser without libyaml, which accepts tabs between tokens like libyaml."""

    def __init__(self, text: str) -> None:
        """Set up the three stages of PyYAML's parser."""
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)

    def get_event(self) -> yaml.Event | None:
        """The next event.

        An escape that is not a character raises a YAML error, not that of `chr`.
        """
        try:
            event: yaml.Event | None = super().get_event()  # type: ignore[no-untyped-call]
            return event
        except (OverflowError, ValueError):
            mark = self.get_mark()
            raise ScannerError(None, None, "found unknown escape character", mark) from None

    def scan_to_next_token(self) -> None:
        """Skip blanks, comments and line breaks, and tabs that are not indentation."""
        while True:
            blanks = " \t" if self.flow_level or not self.allow_simple_key else " "
            while self.peek() in blanks:
                self.forward()
            if self.peek() == "#":
                while self.peek() not in "\0\r\n":
                    self.forward()
            if not self.scan_line_break():  # type: ignore[no-untyped-call]
                return
            if not self.flow_level:
                self.allow_simple_key = True


def events(text: str, pure: bool = not yaml.__with_libyaml__) -> Iterator[yaml.Event]:
    """The events of `text`, one at a time. Raises yaml.YAMLError if it is not YAML.

    Offsets of both parsers count characters; `text` must not begin with a byte order mark.
    """
    parser = PureParser(text) if pure else _fast_parser(text)
    while (event := parser.get_event()) is not None:
        yield event


def offset(mark: object) -> int:
    """The offset of one of PyYAML's marks."""
    return int(getattr(mark, "index", 0))


def _fast_parser(text: str) -> CParser:
    from yaml._yaml import CParser

    return CParser(text)
