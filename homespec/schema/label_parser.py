"""Stage 2, schema: the text of a label, parsed: a column, or a column compared with another one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

Op = Literal[">=", "<=", ">", "<", "==", "!="]

_COLUMN = r"[^\W\d][\w.]*"
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
CONSTANTS = ("true", "false", "null", "none", "nan")
"""Words that would pass for columns, but never mean one."""

_SLIPS = {"=>": ">=", "=<": "<=", "<>": "!=", "=": "=="}

_LABEL = re.compile(
    rf"[ \t]*(?P<column>{_COLUMN})[ \t]*"
    rf"(?:(?P<op>>=|<=|==|!=|>|<)[ \t]*(?:(?P<number>{_NUMBER})|(?P<other>{_COLUMN}))[ \t]*)?"
)
MAX_LENGTH = 200
MAX_NUMBER = 2**53
"""Columns are compared with a float64: from here on it is not every integer."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a task is trained on: `column`, or `column op other`, other a column or a number."""

    column: str
    op: Op | None = None
    other: str | float | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the data that the label needs."""
        return (self.column, self.other) if isinstance(self.other, str) else (self.column,)

    def __str__(self) -> str:
        """The one spelling that all spellings of this label share."""
        if self.op is None:
            return self.column
        other = repr(self.other).removesuffix(".0") if isinstance(self.other, float) else self.other
        return f"{self.column} {self.op} {other}"


def parse_label(text: str) -> Label:
    """Parse `is_click`, `comment_stay_time > 0` or `play_time_ms >= duration_ms`.

    Raises ValueError with a reason fit for the user's eyes.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"it has {len(text)} characters, {MAX_LENGTH} are allowed")
    match = _LABEL.fullmatch(text)
    if match is None:
        raise ValueError(_reason(text))
    if match["number"] and not abs(float(match["number"])) < MAX_NUMBER:
        raise ValueError(
            f"{match['number']} is not below 2^53 (9007199254740992) in size, from where on float64"
            " skips integers; compute such a column when you prepare the data"
        )
    for word in (match["column"], match["other"] or ""):
        if word.lower() in CONSTANTS:
            raise ValueError(f"`{word}` is no column; labels are 0 and 1, so `is_click` is enough")
    op = cast("Op | None", match["op"])
    return Label(match["column"], op, float(match["number"]) if match["number"] else match["other"])


def _reason(text: str) -> str:
    """Why a text is not a label; for the usual slips what was meant."""
    for slip, meant in _SLIPS.items():
        if slip in text and _LABEL.fullmatch(text.replace(slip, meant)):
            return f"{text!r} has no known comparison; write `{text.replace(slip, meant)}`"
    if re.search(r"\b(and|or|not)\b|&|\|", text):
        return f"{text!r} combines conditions; compute such a column when you prepare the data"
    if re.fullmatch(rf"\s*{_NUMBER}\s*(>=|<=|==|!=|>|<)\s*{_COLUMN}\s*", text):
        return f"{text!r} begins with a number; put the column first"
    return (
        f"{text!r} is neither a column nor a comparison `column OP column|number`"
        f" with OP one of {' '.join(get_args(Op))}"
    )
