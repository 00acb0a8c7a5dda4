"""Diagnostics: text as a terminal shows it, without the characters that would steer it."""

from __future__ import annotations

import unicodedata

TAB = "    "
JOINERS = "\u200c\u200d"
COMMAND = "::"
OLD_COMMAND, HARMLESS = "##[", "##\N{LEFT SQUARE BRACKET WITH QUILL}"
"""GitHub's runner looks for commands in the old form, `##[error]`, anywhere in a line."""
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def shown(char: str) -> str:
    """What is shown for a character of a file: pictures for controls, spaces for a tab."""
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
    """A file's name in one line, which does not begin like a command to GitHub (`::error::`)."""
    text = printable(file)
    return f"./{text}" if text.lstrip().startswith(COMMAND) else text


def width(text: str) -> int:
    """How many columns of a terminal a text takes: wide characters two, combining ones none."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(char: str) -> int:
    if char in JOINERS or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def count(number: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
