"""Data: computes labels from columns: a column, arithmetic of two, or a test of these. No torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from homespec.data import DataError
from homespec.data.columns import (
    Array,
    Column,
    decoded,
    is_text,
    isnumeric,
    naming,
    numbers,
    numeric,
    or_missing,
    words_of,
)
from homespec.schema.label_parser import BLANKS, MAX_NUMBER
from homespec.schema.labels import Among, Arithmetic, Compared, Label, Missing, Value, written
from homespec.schema.labels import Column as LabelColumn

_OPS: dict[str, Callable[..., Column]] = {
    ">=": pc.greater_equal,
    "<=": pc.less_equal,
    ">": pc.greater,
    "<": pc.less,
    "==": pc.equal,
    "!=": pc.not_equal,
}


def labels(who: str, label: Label, batch: pa.Table, binary: bool) -> Array:
    """Labels float32 [N]: 0 or 1 (numbers for a regression), NaN where a column is missing.

    Raises DataError if a binary label has another value.
    """
    values = raw_labels(who, label, batch)
    if not binary and np.isinf(values).any():
        raise DataError(f"{who}: its label `{label}` holds an infinite number")
    if binary and len(bad := values[not_binary(values)]):
        remedy = (
            f"if other values are positive as well, write `label: {label} > 0`; to predict the "
            "number itself, `kind: regression`"
            if bad[0] > 0
            else f"if that means that it is not known, write `unknown: {bad[0]:g}` in the spec, "
            "or null in the data (in CSV an empty cell)"
        )
        raise DataError(
            f"{who}: its label `{label}` holds {bad[0]:g}, but labels are 0 or 1; {remedy}"
        )
    return values


def not_binary(labels: Array) -> Array:
    """Which labels are not 0, 1 or missing: bool [N]."""
    wrong: Array = ~((labels == 0) | (labels == 1) | np.isnan(labels))
    return wrong


def raw_labels(who: str, label: Label, batch: pa.Table) -> Array:
    """The values of a label from its columns, unchecked: float32 [N]."""
    return _Reader(who, label, batch).labels()


class _Reader:
    """One label on one table."""

    def __init__(self, who: str, label: Label, batch: pa.Table) -> None:
        self.who, self.label, self.batch = who, label, batch

    def labels(self) -> Array:
        """The label of each row."""
        label = self.label
        try:
            found = self.tested()
            with naming(self.who, label.columns[0]):  # labels from several columns are numbers
                return numbers(found)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            # uint64 beyond int64, or an operation that the types of the columns do not support
            kinds = " and ".join(f"`{n}` is {self.batch[n].type}" for n in label.columns)
            raise DataError(
                f"{self.who}: cannot evaluate `{label}`: {kinds}; write int64, float32 or float64"
            ) from None

    def tested(self) -> Column:
        """The value, or the result of its test."""
        value, test = self.label.value, self.label.test
        match test:
            case Missing():
                assert isinstance(value, LabelColumn)
                return pc.xor(pc.is_null(self.cells(value.name, text=False)), test.negated)
            case Among():
                assert isinstance(value, LabelColumn)
                found = self.among(value.name, test.items)
                return pc.invert(found) if test.negated else found
            case Compared():
                if isinstance(value, LabelColumn) and isinstance(test.other, LabelColumn):
                    names = value.name, test.other.name
                    cells = [self.cells(name) for name in names]
                    return compared(test.op, *_to_compare(cells, list(map(self.numbers, names))))
                return compared(test.op, self.value(value), self.value(test.other))
        return self.value(value)

    def value(self, value: Value) -> Any:
        """A column of numbers, or a number."""
        if isinstance(value, Arithmetic):
            left, right = (self.float64(each) for each in (value.left, value.right))
            return _finite(_ARITHMETIC[value.op](left, right))
        return self.numbers(value.name) if isinstance(value, LabelColumn) else value

    def float64(self, operand: LabelColumn | float) -> Any:
        """An operand of arithmetic."""
        if isinstance(operand, float):
            return pa.scalar(operand, pa.float64())
        return self.numbers(operand.name).cast(pa.float64(), safe=False)

    def among(self, name: str, items: tuple[str, ...] | tuple[float, ...]) -> Column:
        """Whether the cells of a column are among these."""
        if isinstance(items[0], str):
            cells = pc.ascii_trim(self.cells(name), BLANKS)
            wanted = pa.array(items, cells.type)
        else:
            cells = self.numbers(name)
            if not pa.types.is_float32(cells.type):  # an integer beyond 2^53 stays beyond it
                cells = cells.cast(pa.float64(), safe=False)
            wanted = pa.array(np.array(items), pa.float64()).cast(cells.type, safe=False)
        return pc.if_else(pc.is_null(cells), None, pc.is_in(cells, wanted))

    def cells(self, name: str, text: bool = True) -> Column:
        """A column, with null for missing values, after checking that it fits the label's test."""
        column = decoded(self.batch[name].combine_chunks())
        if is_text(column.type):
            column = or_missing(column)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        if text and self.label.of_text and not is_text(column.type):
            if pa.types.is_null(column.type):
                return column.cast(pa.string())
            raise DataError(
                f"{self.who}: the column `{name}` is {self.batch[name].type}, and its label"
                f" `{self.label}` compares text; compare numbers without quotes"
            )
        return self.known(column)

    def known(self, column: Column) -> Column:
        """A column, with null in cells whose value means missing."""
        unknown = self.label.unknown
        if unknown is None:
            return column
        if is_text(column.type):
            bare = pc.ascii_trim(column, BLANKS)
            said = unknown.strip(BLANKS) if isinstance(unknown, str) else written(unknown)
            is_unknown = pc.equal(bare, said)
            if isinstance(unknown, float) and not self.label.of_text:
                is_unknown = pc.or_(is_unknown, _spells(bare, unknown))
            return pc.if_else(pc.fill_null(is_unknown, False), None, column)
        if isinstance(unknown, str) or not isnumeric(column.type):
            return column
        return pc.if_else(compared("==", numeric(column), unknown), None, column)

    def numbers(self, name: str) -> Column:
        """A column as numbers, with null for missing ones. Text may also contain NAN."""
        label = self.label
        try:
            with naming(self.who, name):
                read = numeric(self.cells(name))
        except DataError as error:
            what = "labels are numbers" if label.is_bare else f"cannot evaluate `{label}`"
            raise DataError(f"{error}; {what}") from None
        if pa.types.is_floating(read.type):  # comparisons would treat NaN as a number
            return pc.if_else(pc.is_nan(read), None, read)
        return read


_ARITHMETIC: dict[str, Callable[..., Column]] = {
    "+": pc.add,
    "-": pc.subtract,
    "*": pc.multiply,
    "/": pc.divide,
}


def _finite(column: Column) -> Column:
    """A column, with null where it is not finite, as after a division by 0."""
    return pc.if_else(pc.is_finite(column), column, None)


_NUMBER = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"


def unknown_value(given: float | str | None, of_text: bool) -> float | str | None:
    """The value that means an empty cell: a number, even if quoted, unless texts are tested.

    So "-1" in a spec means the same for a file with numbers and one with text.
    """
    if isinstance(given, str) and (of_text or not re.fullmatch(_NUMBER, given.strip(BLANKS))):
        return given
    return None if given is None else float(given)


def _spells(texts: Column, number: float) -> Column:
    """Which texts contain a number."""
    looks = pc.match_substring_regex(texts, f"^({_NUMBER})$")
    spelled = pc.if_else(looks, texts, None).cast(pa.float64())
    return pc.fill_null(pc.equal(spelled, number), False)


def _to_compare(given: list[Column], numbers: list[Column]) -> list[Column]:
    """Columns in a form that can be compared: exactly, if all hold integers.

    Text and decimals were read as float64, in which distinct integers from 2^53 may be equal.
    """
    if len(given) > 1 and any(_beyond(column) for column in numbers):
        whole = [_integers(column) for column in given]
        if not any(column is None for column in whole):
            return whole
    return numbers


def _beyond(column: Column) -> bool:
    """Whether float64 numbers are so large that not every integer is representable."""
    if not pa.types.is_float64(column.type):
        return False
    return bool(pc.any(pc.greater_equal(pc.abs(column), MAX_NUMBER)).as_py())


def _integers(column: Column) -> Column | None:
    """Text, decimals or integers as integers; None for other numbers."""
    if pa.types.is_floating(column.type):
        return None
    try:
        if is_text(column.type):
            return words_of(column).cast(pa.int64())
        return column.cast(pa.int64()) if pa.types.is_decimal(column.type) else column
    except pa.ArrowInvalid:
        return None


def compared(op: str, one: Column, other: Column | float) -> Column:
    """Compare a column of numbers with a number below 2^53 or with a second column.

    Numbers are compared in the precision of the coarser column, as with boundaries: 0.35 as float32
    reaches the number 0.35. Raises pa.ArrowInvalid or pa.ArrowNotImplementedError.
    """
    if not isinstance(other, float | int):
        return _OPS[op](*_alike(one, other))
    if pa.types.is_float32(one.type):
        return _OPS[op](one, pa.scalar(np.float32(other), pa.float32()))
    if pa.types.is_integer(one.type):  # values beyond 2^53 stay on the same side of the number
        one = one.cast(pa.float64(), safe=False)
    return _OPS[op](one, float(other))


def _alike(one: Column, other: Column) -> tuple[Column, Column]:
    """Two columns with the same type.

    By itself, pyarrow widens float32, converts integers to float32, and fails for those beyond
    2^53.
    """
    kind = _common({one.type, other.type})
    return (one, other) if kind is None else (_cast(one, kind), _cast(other, kind))


def _common(kinds: set[pa.DataType]) -> pa.DataType | None:
    """The common type of two types of numbers; None if pyarrow compares them correctly."""
    if len(kinds) == 1:
        return None
    if kinds == {pa.float32(), pa.float64()}:
        return pa.float32()
    return pa.float64() if kinds & {pa.float32(), pa.float64()} else None


def _cast(column: Column, kind: pa.DataType) -> Column:
    """A column or a number as another type. Integers beyond 2^53 become the nearest float64."""
    return column.cast(kind, safe=False)
