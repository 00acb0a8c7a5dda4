"""Stage 1, source: resolves the types of plain scalars by the core schema of YAML 1.2."""

from __future__ import annotations

import re

MAX_NUMBER = 300
"""Maximum number of digits: no float has more before its point."""

CONSTANTS: dict[str, bool | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
DECIMAL = re.compile(r"[-+]?[0-9]+")
OCTAL = re.compile(r"0o[0-7]+")
HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
INFINITY = re.compile(r"[-+]?\.(inf|Inf|INF)")
NAN = re.compile(r"\.(nan|NaN|NAN)")


def resolve(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar; `on`, `yes`, `1_000` and dates are strings.

    A number of more than `MAX_NUMBER` characters is also a string.
    """
    if text in CONSTANTS:
        return CONSTANTS[text]
    if len(text) > MAX_NUMBER or text[0] not in "-+.0123456789":
        return text
    return _number(text)


def _number(text: str) -> str | int | float:
    if DECIMAL.fullmatch(text):
        return int(text)
    if OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if HEXADECIMAL.fullmatch(text):
        return int(text, 16)
    if FLOAT.fullmatch(text):
        return float(text)
    if INFINITY.fullmatch(text):
        return float(text.replace(".", ""))
    return float("nan") if NAN.fullmatch(text) else text


def kind(value: object) -> str:
    """The type of a YAML value in words: `an integer`, `a list`."""
    kinds = {
        dict: "a mapping",
        list: "a list",
        str: "text",
        bool: "true or false",
        int: "an integer",
        float: "a number",
    }
    return kinds.get(type(value), "empty")
