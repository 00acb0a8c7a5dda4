"""Stage 2, schema: the forms of names and labels, for JSON Schema.

The patterns mean the same to Python and to the editors' JavaScript.
"""

from __future__ import annotations

import keyword
from typing import Any

from homespec.schema.field_types import MAX_VERSION, VERSION
from homespec.schema.identifiers import RESERVED, ROOT
from homespec.schema.label_parser import CONSTANTS
from homespec.schema.label_tokens import MAX_LENGTH
from homespec.schema.sequences import OWN_NAME

_TAKEN = sorted({*keyword.kwlist, *RESERVED})

_FIRST, _NEXT = r"(?:[A-Za-z_]|[^\x00-\x7F])", r"(?:[A-Za-z0-9_.]|[^\x00-\x7F])"


def _in_any_case(word: str) -> str:
    return "".join(f"[{c}{c.upper()}]" for c in word)


_CONSTANT = "|".join(map(_in_any_case, CONSTANTS))
_WORD = rf"(?!(?:{_CONSTANT})(?![A-Za-z0-9_.])){_FIRST}{_NEXT}*"
_COLUMN = rf"(?:{_WORD}|`[^`]*[^` \t][^`]*`)"
_NUMBER = r"[-+]?[ \t]*(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_OPERAND = rf"(?:{_NUMBER}|{_COLUMN})[ \t]*"
_VALUE = rf"{_OPERAND}(?:[-+*/][ \t]*{_OPERAND})?"
_FIRST_VALUE = (
    rf"(?:{_COLUMN}[ \t]*(?:[-+*/][ \t]*{_OPERAND})?|{_NUMBER}[ \t]*[-+*/][ \t]*{_COLUMN}[ \t]*)"
)
_TEXT = r"(?:\"[^\"]*[^\" \t][^\"]*\"|'[^']*[^' \t][^']*')"
_ITEM = rf"(?:{_NUMBER}|{_TEXT}|{_WORD})[ \t]*"
_TEST = "|".join(
    (
        rf"(?:>=|<=|==|!=|>|<)[ \t]*{_VALUE}",
        rf"[=!]=[ \t]*{_TEXT}[ \t]*",
        rf"(?:not[ \t]+)?in[ \t]*\[[ \t]*{_ITEM}(?:,[ \t]*{_ITEM})*\][ \t]*",
        rf"is[ \t]+(?:not[ \t]+)?(?:{_in_any_case('null')}|{_in_any_case('none')})[ \t]*",
    )
)


def _name(letters: str, *more: str) -> dict[str, Any]:
    """The characters of a name, and the names that already have a meaning."""
    return {
        "title": "name",
        "type": "string",
        "pattern": f"^[A-Za-z][{letters}]{{0,62}}$",
        "errorMessage": "a name consists of letters, digits and `_`, and begins with a letter",
        "if": {"anyOf": [{"enum": [*_TAKEN, *more]}, {"pattern": f"^{_in_any_case(ROOT)}$"}]},
        "then": {"pattern": "^$", "errorMessage": "this name is already taken"},
    }


FORMS: dict[str, dict[str, Any]] = {
    "Name": _name("A-Za-z0-9_"),
    "LayerName": _name("A-Za-z0-9"),
    "FieldName": _name("A-Za-z0-9_", OWN_NAME),
    "Version": {
        "type": "string",
        "maxLength": MAX_VERSION,
        "pattern": f"^{VERSION}$",
        "errorMessage": "a version is three numbers, such as 1.2.0 or 2.0.0-rc.1",
    },
    "Label": {
        "type": "string",
        "maxLength": MAX_LENGTH,
        "pattern": rf"^[ \t]*{_FIRST_VALUE}(?:{_TEST})?$",
        "errorMessage": "a column, or a test such as `play_ms / duration_ms >= 0.8`",
    },
}
"""Form -> its definition. Letters of other scripts in columns are not checked."""
