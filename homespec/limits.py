"""The maximum size of a model: homespec's own limit, or HOMESPEC_MAX_BYTES."""

from __future__ import annotations

import os
import re

VARIABLE = "HOMESPEC_MAX_BYTES"
MAX_BYTES = 100 * 10**12
"""100 TB: the largest published models have tens of terabytes, spread over many machines."""
MACHINE_BYTES = 10**12
"""1 TB: more than the memory of most machines; training with Adam needs three times as much."""

UNITS = {unit: 1000**power for power, unit in enumerate(("", "k", "m", "g", "t", "p", "e"))}
UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("kmgtpe", 1)}
SIZE = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*((?:[kmgtpe]i?)?)b?\s*", re.IGNORECASE)


def max_bytes() -> int:
    """The limit, such as `500GB`, `2 TiB` or a number of bytes. ValueError for anything else."""
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        return MAX_BYTES
    match = SIZE.fullmatch(text)
    if match is None or not float(match[1]):
        raise ValueError(f"{VARIABLE} is {text[:60]!r}, not a size such as 500GB or 2TiB")
    return int(float(match[1]) * UNITS[match[2].lower()])


def describe_bytes(number: int) -> str:
    """A size in the largest unit that it reaches: `9.0 PB`."""
    units = ("kB", "MB", "GB", "TB", "PB", "EB")
    power = min((len(str(number)) - 1) // 3, len(units))
    return f"{number / 1000**power:,.1f} {units[power - 1]}" if power else f"{number} bytes"
