"""Diagnostics: text that is safe to print, without characters that control a terminal."""

from __future__ import annotations

import unicodedata

TAB = "    "
JOINERS = "\u200c\u200d"
COMMAND = "::"
OLD_COMMAND, HARMLESS = "##[", "##\N{LEFT SQUARE BRACKET WITH QUILL}"
"""GitHub's runner looks for commands in the old form, `##[error]`, anywhere in a line."""
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def shown(char: str) -> str:
    """The characters shown in place of others: pictures for controls, spaces for a tab."""
    if " " <= char <= "~":
        return char
    if char == "\t":
        return TAB
    if char < " ":
        return chr(0x2400 + ord(char))
    if char in JOINERS or unicodedata.category(char) not in UNSAFE:
        return char
    return "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """Text in one line, safe for terminals and for the logs of CI."""
    plain = text if text.isascii() and text.isprintable() else "".join(map(shown, text))
    return plain.replace(OLD_COMMAND, HARMLESS)


def named(file: str) -> str:
    """A file's name on one line that does not begin like a command for GitHub (`::error::`)."""
    text = printable(file)
    return f"./{text}" if text.lstrip().startswith(COMMAND) else text


def width(text: str) -> int:
    """Width of a text in columns of a terminal: wide characters take two, combining ones none."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(char: str) -> int:
    if char in JOINERS or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 error`, `2 errors`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
