"""Drafting: converts dates and times in text to ordered numbers, whichever part comes first."""

from __future__ import annotations

import re
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa

from homespec.data.columns import Array

Order = Literal["ymd", "dmy", "mdy"]
"""The order of year, month and day."""
TEXT = re.compile(
    r"(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})"
    r"(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}(?:[.,]\d+)?))?(?: ?([AaPp])[Mm])?)?"
    r" ?(Z|UTC|[+-]\d{2}:?\d{2})?"
)


def order_of(texts: list[str]) -> Order | None:
    """The order of the parts of days; None if it is ambiguous or there are several time zones.

    A part above 12 is not a month. If all days and months are 12 or less, both orders are possible.
    """
    found = [match for match in map(TEXT.fullmatch, texts) if match]
    if not found or len(found) < len(texts) or len({match[8] for match in found}) > 1:
        return None
    if all(len(match[1]) == 4 for match in found):
        return "ymd"
    if not all(len(match[3]) == 4 and len(match[1]) <= 2 for match in found):
        return None
    first, second = (max(int(match[part]) for match in found) for part in (1, 2))
    if (first > 12) == (second > 12):
        return None
    return "dmy" if first > 12 else "mdy"


def keys(texts: pa.Array, order: Order) -> Array:
    """Numbers in the order of times, float64 [N]; NaN for other texts."""
    cells = texts.dictionary_encode()
    each = np.array([*map(partial(_key, order=order), cells.dictionary.to_pylist()), np.nan])
    places = cells.indices.fill_null(len(each) - 1).to_numpy(zero_copy_only=False)
    found: Array = each[places]
    return found


def _key(text: str, order: Order) -> float:
    match = TEXT.fullmatch(text.strip())
    if match is None:
        return np.nan
    parts = dict(zip(order, (int(match[1]), int(match[2]), int(match[3])), strict=True))
    day = (parts["y"] * 12 + parts["m"]) * 31 + parts["d"]
    if match[4] is None:
        return day * 86400.0
    hour = int(match[4])
    if match[7]:
        hour = hour % 12 + 12 * (match[7] in "Pp")
    second = float((match[6] or "0").replace(",", "."))
    return day * 86400.0 + hour * 3600 + int(match[5]) * 60 + second
