"""The id of a text, as homespec computes it in training (docs/ids.md). Needs only Python.

python text_ids.py user_42 " 39.0 " NULL
"""

from __future__ import annotations

import hashlib
import re
import sys
from decimal import Decimal

MISSING = -1
SAYS_MISSING = ("", "NULL", "null", "NaN", "nan", "None")
BLANKS = " \t\n\v\f\r"
BOOLEANS = {"true": 1, "false": 0}
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")
LONGEST_NUMBER = 40
EXACT = 2**53
"""From this number, several integers share one float64."""


def text_id(text: str) -> int:
    """The id of a text. Raises ValueError for a float that may stand for several ids."""
    bare = text.strip(BLANKS)
    if bare in SAYS_MISSING:
        return MISSING
    number = BOOLEANS.get(bare.lower(), spelled(bare))
    if number is None or not -(2**63) <= number < 2**64:
        return hashed(bare)
    return number - 2**64 if number >= 2**63 else number


def spelled(bare: str) -> int | None:
    """The whole number that a text contains; None for other text."""
    match = NUMBER.fullmatch(bare) if len(bare) <= LONGEST_NUMBER else None
    if match is None:
        return None
    point, power = match.groups()
    if not (point or power):
        return int(bare)
    number = Decimal(bare)
    if number != number.to_integral_value():
        return None
    if abs(number) < EXACT:
        return int(number)
    if point or "+" in power:
        raise ValueError(f"{bare} may be a rounded float, of several ids")
    return None


def hashed(bare: str) -> int:
    """The first 63 bits of BLAKE2b with a digest of 8 bytes."""
    digest = hashlib.blake2b(bare.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") & (2**63 - 1)


if __name__ == "__main__":
    for word in sys.argv[1:]:
        print(repr(word), text_id(word))
