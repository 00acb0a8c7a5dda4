"""Data: converts cells to ids, by one rule for every type, so that CSV and Parquet agree. No torch.

docs/ids.md states the rule, with test vectors for implementations in other languages.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from homespec.data import DataError
from homespec.data.data_files import NULLS

if TYPE_CHECKING:
    from homespec.data.columns import Column

MISSING = -1
INT63 = 2**63 - 1
SAYS_MISSING = frozenset(NULLS)
DIGITS = frozenset("-0123456789")
BLANKS = " \t\n\v\f\r"
BOOLEANS = {"true": 1, "false": 0}
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")
"""A number in the usual form; 007 is text."""
MAX_NUMBER_LENGTH = 40
"""Numbers are never printed with more characters."""
EXACT = {16: 2**11, 32: 2**24, 64: 2**53}
"""By the bits of a float type: from this number, adjacent whole numbers are the same float."""
FLOATS = (
    "write ids as int64 or text (pandas turns integers with missing values into floats, unless "
    "the column is `Int64`)"
)


@lru_cache(maxsize=2**16)
def text_id(text: str) -> int:
    """The id of a text: -1 if it means missing, the whole number that it contains, else a hash.

    The hash is 0 to 2**63 - 1: the first 64 bits that BLAKE2b with a digest of 8 bytes gives for
    the UTF-8 bytes, big-endian, without the highest bit. Integers from 2**63 on wrap around, as
    those of an unsigned column do. Raises DataError for a float that is too large to be one id.
    """
    bare = text.strip(BLANKS)
    if bare in SAYS_MISSING:
        return MISSING
    number = _spelled(bare) if bare[0] in DIGITS else BOOLEANS.get(bare.lower())
    if number is None or not -(2**63) <= number < 2**64:
        return int.from_bytes(hashlib.blake2b(bare.encode(), digest_size=8).digest(), "big") & INT63
    return number - 2**64 if number > INT63 else number


def _spelled(bare: str) -> int | None:
    """The whole number that a text contains; None for other text."""
    match = NUMBER.fullmatch(bare) if len(bare) <= MAX_NUMBER_LENGTH else None
    if match is None:
        return None
    point, power = match.groups()
    if not (point or power):
        return int(bare)
    number = Decimal(bare)
    if number != number.to_integral_value():
        return None
    if abs(number) < EXACT[64]:
        return int(number)
    if point or "+" in power:
        raise DataError(
            f"holds {bare}: from 2**53 on, a number with a point or an exponent may be a rounded"
            f" float that stands for several ids; {FLOATS}"
        )
    return None  # 12345678901234e5 is a code


def text_ids(column: Column) -> Column:
    """Text -> int64. Raises DataError, whose message starts after the name of the column."""
    return _of_each(column, text_id)


def decimal_ids(column: Column) -> Column:
    """Decimals -> int64, by the same rule as their text."""
    return _of_each(column, _decimal_id)


def _decimal_id(number: Decimal) -> int:
    if number != number.to_integral_value():
        raise DataError(f"is not an id, because it has fractions, such as {number}")
    return text_id(f"{number:f}")


def _of_each(column: Column, id_of: Callable[[Any], int]) -> Column:
    """Apply a function to each distinct value, and return results for all values."""
    encoded = column.dictionary_encode()
    ids = [id_of(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(ids, pa.int64()).take(encoded.indices)


def float_ids(column: Column) -> Column:
    """Whole numbers as floats, NaN for missing -> int64."""
    kind = column.type
    if kind.bit_width == 16:  # pyarrow supports few operations on these
        column = column.cast(pa.float32())
    column = pc.if_else(pc.is_nan(column), None, column)
    bound = pc.max(pc.abs(column)).as_py() or 0.0
    if bound == float("inf"):
        raise DataError("holds an infinite number, which is not an id")
    if bound >= EXACT[kind.bit_width]:
        power = EXACT[kind.bit_width].bit_length() - 1
        raise DataError(
            f"holds {bound:.17g}: from 2**{power} on, a float{kind.bit_width} stands for several"
            f" ids; {FLOATS}"
        )
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        raise DataError("is not an id: it has fractions") from None
