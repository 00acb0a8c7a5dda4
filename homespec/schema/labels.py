"""Stage 2, schema: a parsed label: a value from columns, optionally with a test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Op = Literal[">=", "<=", ">", "<", "==", "!="]
ArithmeticOp = Literal["+", "-", "*", "/"]
BARE = re.compile(r"[^\W\d][\w.]*")
"""A name of a column that needs no backticks."""


@dataclass(frozen=True, slots=True)
class Column:
    """The numbers of a column, or its texts if these are tested."""

    name: str

    def __str__(self) -> str:
        """Its name, in backticks unless it is an identifier."""
        return self.name if BARE.fullmatch(self.name) else f"`{self.name}`"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two numbers combined in float64; a result that is not finite is missing, as after a division
    by 0."""

    left: Column | float
    op: ArithmeticOp
    right: Column | float

    def __str__(self) -> str:
        """The text in a label."""
        return f"{written(self.left)} {self.op} {written(self.right)}"


Value = Column | float | Arithmetic


@dataclass(frozen=True, slots=True)
class Compared:
    """Whether a value is greater, equal and so on."""

    op: Op
    other: Value

    def __str__(self) -> str:
        """The text in a label, preceded by a blank."""
        return f" {self.op} {written(self.other)}"


@dataclass(frozen=True, slots=True)
class Among:
    """Whether a column holds one of these texts or numbers, or none of them."""

    items: tuple[str, ...] | tuple[float, ...]
    negated: bool = False

    def __str__(self) -> str:
        """The text in a label; for a single text, the equivalent comparison."""
        if len(self.items) == 1 and isinstance(self.items[0], str):
            return f" {'!=' if self.negated else '=='} {_item(self.items[0])}"
        return f"{' not' * self.negated} in [{', '.join(map(_item, self.items))}]"


@dataclass(frozen=True, slots=True)
class Missing:
    """Whether a column lacks a value in a row, or whether it has one."""

    negated: bool = False

    def __str__(self) -> str:
        """The text in a label."""
        return f" is{' not' * self.negated} null"


@dataclass(frozen=True, slots=True)
class Label:
    """The label of a task: a value, or the result of a test, 1 or 0."""

    value: Value
    test: Compared | Among | Missing | None = None
    unknown: float | str | None = None
    """A number or text that means an empty cell."""

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
        """Whether it is just a column."""
        return self.test is None and isinstance(self.value, Column)

    def __str__(self) -> str:
        """The normal form of all spellings of this label."""
        return f"{written(self.value)}{self.test or ''}"


def written(value: Value) -> str:
    """A value as written in a label."""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _item(item: str | float) -> str:
    if isinstance(item, float):
        return written(item)
    return f"'{item}'" if '"' in item else f'"{item}"'


def _columns(value: Value) -> Iterator[str]:
    for part in (value.left, value.right) if isinstance(value, Arithmetic) else (value,):
        if isinstance(part, Column):
            yield part.name
