"""Stage 1, source: descriptions of keys that are not text, and remedies."""

from __future__ import annotations

import re

from homespec.source.document import Node, Value
from homespec.source.missing_brackets import with_brackets
from homespec.source.scalars import kind

BEFORE = re.compile(r"([0-9]{1,3}(?:,[0-9]{3})*),$")
AFTER = re.compile(r"(?:,[0-9]{3})*(?![0-9])")
MAX_DIGITS = 40


def odd_key(key: Value, node: Node) -> tuple[str, str]:
    """The description of a key that is not text, and its remedy."""
    text = node.lines.text
    written = text[node.start : node.end]
    if isinstance(key, dict | list):
        is_template = text[max(0, node.start - 1) : node.start + 1] == "{{"
        remedy = "specs have no templates; write the value" if is_template else "write a name"
        return kind(key), remedy
    if not written:
        return "empty", "write a name before the colon"
    if number := _number_with_commas(node):
        return kind(key), f"write {number}: a comma ends a value"
    if listed := with_brackets(text, node.start, node.end):
        return kind(key), listed
    if type(key) in (int, float):
        name = re.sub(r"\W", "_", f"n{written}", flags=re.ASCII)
        column = f'to read the column, write `column: "{written}"`'
        return kind(key), f"names begin with a letter: write `{name}`; {column}"
    return kind(key), f'to use it as a name, quote it: "{written}"'


def _number_with_commas(node: Node) -> str:
    """`1000000` if the key is the `000` of `1,000,000`, which YAML reads as several entries."""
    text = node.lines.text
    group, before = text[node.start : node.end], _groups_before(node)
    after = AFTER.match(text[node.end : node.end + MAX_DIGITS])
    if not before or after is None or not re.fullmatch("[0-9]{3}", group):
        return ""
    return f"{before}{group}{after[0]}".replace(",", "")


def _groups_before(node: Node) -> str:
    groups = BEFORE.search(node.lines.text[max(0, node.start - MAX_DIGITS) : node.start])
    return groups[1] if groups else ""


def is_later_group(node: Node) -> bool:
    """Whether the key is the second `000` of such a number, which is reported at the first one."""
    return "," in _groups_before(node) and bool(_number_with_commas(node))
