"""Stage 2, schema: what a label is: a value of columns, perhaps with a test of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Op = Literal[">=", "<=", ">", "<", "==", "!="]
ArithmeticOp = Literal["+", "-", "*", "/"]
BARE = re.compile(r"[^\W\d][\w.]*")
"""A column that needs no quotes."""


@dataclass(frozen=True, slots=True)
class Column:
    """The numbers of a column, or its texts where these are what is tested."""

    name: str

    def __str__(self) -> str:
        """Its name, in backticks where it is no identifier."""
        return self.name if BARE.fullmatch(self.name) else f"`{self.name}`"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two numbers combined in float64; a result that is not finite is missing, as after a division
    by 0."""

    left: Column | float
    op: ArithmeticOp
    right: Column | float

    def __str__(self) -> str:
        """As in a label."""
        return f"{written(self.left)} {self.op} {written(self.right)}"


Value = Column | float | Arithmetic


@dataclass(frozen=True, slots=True)
class Compared:
    """Whether a value is greater, equal and so on."""

    op: Op
    other: Value

    def __str__(self) -> str:
        """As in a label, with a blank before it."""
        return f" {self.op} {written(self.other)}"


@dataclass(frozen=True, slots=True)
class Among:
    """Whether a column holds one of these texts or numbers, or none of them."""

    items: tuple[str, ...] | tuple[float, ...]
    negated: bool = False

    def __str__(self) -> str:
        """As in a label; of one text a comparison, which means the same."""
        if len(self.items) == 1 and isinstance(self.items[0], str):
            return f" {'!=' if self.negated else '=='} {_item(self.items[0])}"
        return f"{' not' * self.negated} in [{', '.join(map(_item, self.items))}]"


@dataclass(frozen=True, slots=True)
class Missing:
    """Whether a column lacks a value in a row, or has one."""

    negated: bool = False

    def __str__(self) -> str:
        """As in a label."""
        return f" is{' not' * self.negated} null"


@dataclass(frozen=True, slots=True)
class Label:
    """What a task is trained on: a value, or whether it passes a test: 1 or 0."""

    value: Value
    test: Compared | Among | Missing | None = None
    unknown: float | str | None = None
    """A number or text in a cell that means that the cell is empty."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the data that the label needs."""
        other = self.test.other if isinstance(self.test, Compared) else 0.0
        return tuple(dict.fromkeys([*_columns(self.value), *_columns(other)]))

    @property
    def of_text(self) -> bool:
        """Whether the texts of its column are compared."""
        return isinstance(self.test, Among) and isinstance(self.test.items[0], str)

    @property
    def is_bare(self) -> bool:
        """Whether it is a column as it is."""
        return self.test is None and isinstance(self.value, Column)

    def __str__(self) -> str:
        """The one spelling that all spellings of this label share."""
        return f"{written(self.value)}{self.test or ''}"


def written(value: Value) -> str:
    """A value as in a label."""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _item(item: str | float) -> str:
    if isinstance(item, float):
        return written(item)
    return f"'{item}'" if '"' in item else f'"{item}"'


def _columns(value: Value) -> Iterator[str]:
    for part in (value.left, value.right) if isinstance(value, Arithmetic) else (value,):
        if isinstance(part, Column):
            yield part.name
