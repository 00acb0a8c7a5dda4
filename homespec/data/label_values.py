"""Data: columns -> labels: a column, or one compared with a number or another one. No torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from homespec.data import DataError
from homespec.data.columns import (
    Array,
    Column,
    decoded,
    is_text,
    naming,
    numbers,
    numeric,
    words_of,
)
from homespec.schema.label_parser import MAX_NUMBER, Label

_OPS: dict[str, Callable[..., Column]] = {
    ">=": pc.greater_equal,
    "<=": pc.less_equal,
    ">": pc.greater,
    "<": pc.less,
    "==": pc.equal,
    "!=": pc.not_equal,
}


def labels(who: str, label: Label, batch: pa.Table, binary: bool) -> Array:
    """Labels float32 [N]: 0, 1 (numbers for a regression), NaN where a column is missing.

    Raises DataError where a binary label is anything else.
    """
    values = raw_labels(who, label, batch)
    if not binary and np.isinf(values).any():
        raise DataError(f"{who}: its label `{label.column}` holds an infinite number")
    if binary and len(bad := values[not_binary(values)]):
        remedy = (
            f"if more is meant to be positive, write `label: {label.column} > 0`; if the number"
            " itself is meant, `kind: regression`"
            if bad[0] > 0
            else "where it is not known, write null (in CSV an empty cell)"
        )
        raise DataError(
            f"{who}: its label `{label.column}` holds {bad[0]:g}, but labels are 0 or 1; {remedy}"
        )
    return values


def not_binary(labels: Array) -> Array:
    """Which labels are neither 0 nor 1 nor missing: bool [N]."""
    wrong: Array = ~((labels == 0) | (labels == 1) | np.isnan(labels))
    return wrong


def raw_labels(who: str, label: Label, batch: pa.Table) -> Array:
    """What a label's column or comparison gives, whatever it is: float32 [N]."""
    given = [decoded(batch[name].combine_chunks()) for name in label.columns]
    columns = [_numbers(who, label, *cells) for cells in zip(label.columns, given, strict=True)]
    if label.op is None:
        with naming(who, label.column):
            return numbers(columns[0])
    try:
        one, *others = _to_compare(given, columns)
        return numbers(compared(label.op, one, *(others or [label.other])))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        kinds = " and ".join(f"`{n}` is {batch[n].type}" for n in label.columns)
        raise DataError(
            f"{who}: cannot evaluate `{label}`: {kinds}; write int64, float32 or float64"
        ) from None


def _numbers(who: str, label: Label, name: str, column: Column) -> Column:
    """A column of a label as numbers, null where one is missing: text may spell NAN, too."""
    try:
        with naming(who, name):
            read = numeric(column)
    except DataError as error:
        what = "labels are numbers" if label.op is None else f"cannot evaluate `{label}`"
        raise DataError(f"{error}; {what}") from None
    if pa.types.is_floating(read.type):  # comparisons would take NaN for a number
        return pc.if_else(pc.is_nan(read), None, read)
    return read


def _to_compare(given: list[Column], numbers: list[Column]) -> list[Column]:
    """Columns as they are compared with each other: exactly, where all hold integers.

    Text and decimals were read as float64, in which distinct integers from 2^53 on are equal.
    """
    if len(given) > 1 and any(_beyond(column) for column in numbers):
        whole = [_integers(column) for column in given]
        if not any(column is None for column in whole):
            return whole
    return numbers


def _beyond(column: Column) -> bool:
    """Whether float64 numbers reach a size in which not every integer is one of them."""
    if not pa.types.is_float64(column.type):
        return False
    return bool(pc.any(pc.greater_equal(pc.abs(column), MAX_NUMBER)).as_py())


def _integers(column: Column) -> Column | None:
    """Text, decimals or integers as integers; None if they are other numbers."""
    if pa.types.is_floating(column.type):
        return None
    try:
        if is_text(column.type):
            return words_of(column).cast(pa.int64())
        return column.cast(pa.int64()) if pa.types.is_decimal(column.type) else column
    except pa.ArrowInvalid:
        return None


def compared(op: str, one: Column, other: Column | float) -> Column:
    """The comparison of a column of numbers with a number below 2^53 or with a second column.

    Numbers are compared in the precision of the coarser column, as with boundaries: 0.35 as float32
    reaches the number 0.35. Raises pa.ArrowInvalid or pa.ArrowNotImplementedError.
    """
    if not isinstance(other, float | int):
        return _OPS[op](*_alike(one, other))
    if pa.types.is_float32(one.type):
        return _OPS[op](one, pa.scalar(np.float32(other), pa.float32()))
    if pa.types.is_integer(one.type):  # those beyond 2^53 stay on their side of the number
        one = one.cast(pa.float64(), safe=False)
    return _OPS[op](one, float(other))


def _alike(one: Column, other: Column) -> tuple[Column, Column]:
    """Two columns as one type. pyarrow widens float32, and would take integers for float32."""
    kinds = {one.type, other.type}
    if pa.float32() not in kinds or len(kinds) == 1:
        return one, other
    if pa.float64() in kinds:
        return one.cast(pa.float32(), safe=False), other.cast(pa.float32(), safe=False)
    return one.cast(pa.float64()), other.cast(pa.float64())
