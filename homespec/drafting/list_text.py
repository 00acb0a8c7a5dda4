"""Drafting: finds text columns that contain lists, and the separators of these."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from homespec.data import columns
from homespec.data.list_profile import ListProfile
from homespec.drafting.seen import Seen
from homespec.schema.input_tensors import InputTensor

LOOKED_INTO = 20_000
"""Maximum number of distinct texts of a column that are examined."""
BRACKETED = r"^\[.*\]$"
SHARE = 0.3
"""Minimum share of texts with a comma, besides digits or letters, for lists."""
ITEM = r"[\w.-]+"
LISTED = rf"^{ITEM}(?:\s*,\s*{ITEM})+$"
CODE = r"[\w.-]*[0-9][\w.-]*"
"""An id with a digit; words separated by spaces are names."""
SPACED = rf"^{CODE}(?: +{CODE})*$"
NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
VECTOR = rf"^{NUMBER}(?:(?: +|\s*,\s*){NUMBER})+$"
GROUPED = r"^[+-]?[0-9]{1,3}(?: [0-9]{3})+(?:\.[0-9]+)?$"
"""One number, with blanks between thousands."""
FRACTION = r"[0-9]\.[0-9]|[eE]-"


def separator_of(seen: Seen) -> str | None:
    """The separator of lists in text, "" for commas and brackets; None if they are not lists."""
    if not columns.is_text(seen.kind) or seen.numbers is not None or seen.distinct < 2:
        return None
    words = seen.values[:LOOKED_INTO]
    if seen.written_numbers:
        return None
    if pc.all(pc.match_substring_regex(words, BRACKETED)).as_py():
        return ""
    listed = int(pc.sum(pc.match_substring_regex(words, LISTED)).as_py() or 0)
    single = int(pc.sum(pc.match_substring_regex(words, rf"^{ITEM}$")).as_py() or 0)
    if listed >= SHARE * len(words) and listed + single == len(words) and _shared(words, ","):
        return ""
    if _spaced(words) or _are_vectors(words):
        return ""
    profile = ListProfile()
    profile.add(words, np.arange(len(words)), np.ones(len(words), np.int64))
    mark = profile.separator
    if not mark or not _shared(words, mark) or not re.search(r"\w", str(words[0])):
        return None
    return mark


def _spaced(words: pa.Array) -> bool:
    """Whether they are ids separated by spaces, of varying number."""
    if not pc.all(pc.match_substring_regex(words, SPACED)).as_py():
        return False
    spaces = pc.count_substring_regex(words, " +").to_numpy()
    many = float((spaces > 0).mean())
    return many >= SHARE and spaces.min() < spaces.max() and _shared(words, " ")


def _are_vectors(words: pa.Array) -> bool:
    """Whether they are equally many numbers, with fractions: their parts hardly occur again."""
    if not pc.all(pc.match_substring_regex(words, VECTOR)).as_py():
        return False
    if pc.all(pc.match_substring_regex(words, GROUPED)).as_py():
        return False
    parts = pc.count_substring_regex(words, NUMBER).unique()
    return len(parts) == 1 and bool(pc.any(pc.match_substring_regex(words, FRACTION)).as_py())


def _shared(words: pa.Array, mark: str) -> bool:
    """Whether parts occur in several of the texts, which is typical of lists but not of names."""
    parts = pc.list_flatten(pc.split_pattern(words, mark))
    return len(parts) > 1.5 * len(pc.unique(parts))


def taken_apart(column: pa.ChunkedArray, name: str, separator: str) -> pa.ListArray:
    """The lists of a column of lists or of text."""
    tensor = InputTensor(name, name, name, "id", length=2, separator=separator)
    return columns.as_lists(tensor, column.combine_chunks())
