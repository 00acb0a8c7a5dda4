"""Drafting: the choice for a column, with the numbers that support it as a comment."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from homespec.diagnostics.render.terminal import printable

SHOWN = 24
"""Maximum number of characters of the data's texts in comments."""


@dataclass(frozen=True)
class Choice:
    """A feature of a column."""

    column: str
    """The first, if there are several, as for a history."""
    options: dict[str, Any]
    """The options in the spec, without `dim`."""
    comment: str
    dim: int = 0
    """Width of its embedding; 0 without one."""


@dataclass(frozen=True)
class LeftOut:
    """A column that does not become a feature."""

    column: str
    reason: str


def harmless(text: str) -> str:
    """A text for a comment: on one line, and without anything that homespec reads in comments."""
    return re.sub("(?<=homespec):", "\N{RATIO}", printable(text), flags=re.IGNORECASE)


def quoted(text: str) -> str:
    """A text of the data for a comment: short, on one line, and not a comment for homespec."""
    plain = harmless(text)
    return f'"{plain[:SHOWN]}…"' if len(plain) > SHOWN else f'"{plain}"'


def share(part: float, whole: float) -> str:
    """A share in percent with two digits:

    `12%`, `0.34%`. Only exactly 0 is 0%, and only 1 is 100%.
    """
    percent = 100 * part / whole if whole else 0.0
    if part and percent < 0.01:
        return "<0.01%"
    if part < whole and percent >= 99.5:
        return ">99%"
    digits = 0 if percent >= 10 or percent == 0 else 1 if percent >= 1 else 2
    return f"{percent:.{digits}f}%"


def number(value: float) -> str:
    """Numbers below 1e15 without a power of ten, those with fractions to three digits."""
    if abs(value) < 1e15 and (value == round(value) or abs(value) >= 1000):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def nice(least: float, steps: tuple[int, ...] = (1, 2, 5, 10)) -> int:
    """The first of 1, 2, 5, 10, 20, 50, … that is not smaller; `steps` are those of each power."""
    power = int(10 ** math.floor(math.log10(max(1.0, least))))
    return next(step * power for step in steps if step * power >= least)


def width(values: int) -> int:
    """The width of an embedding for this number of values."""
    return 4 if values <= 10 else 8 if values <= 10_000 else 16
