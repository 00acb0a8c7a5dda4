"""Stage 1, source: a list without brackets, `{hidden: 128, 64}`, whose words YAML reads as keys."""

from __future__ import annotations

import re

WORD = r"[\w.+-]+"
BEFORE = re.compile(rf"(\w+): *({WORD}(?:, *{WORD})*), *$")
AFTER = re.compile(rf"(?:, *{WORD}(?= *[,}}]))*(?= *[,}}])")
MAX_WORDS = 200
"""Maximum number of characters before and after a word that are searched for others."""


def with_brackets(text: str, start: int, end: int) -> str:
    """How to write the list that a key seems to be part of; "" if it does not seem so."""
    before = BEFORE.search(text, max(0, start - MAX_WORDS), start)
    after = AFTER.match(text, end, end + MAX_WORDS)
    if before is None or after is None:
        return ""
    key, words = before.groups()
    listed = re.split(", *", f"{words}, {text[start:end]}{after[0]}")
    return f"a list needs brackets: write `{key}: [{', '.join(listed)}]`"
