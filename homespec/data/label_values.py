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
    as_array,
    decoded,
    is_text,
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
    found = raw_labels(who, label, batch)
    if not binary:
        if np.isinf(found).any():
            raise DataError(f"{who}: its label `{label.column}` holds an infinite number")
        return found
    bad = found[not_binary(found)]
    if len(bad):
        remedy = (
            f"if more is meant to be positive, write `label: {label.column} > 0`; if the number"
            " itself is meant, `kind: regression`"
            if bad[0] > 0
            else "where it is not known, write null (in CSV an empty cell)"
        )
        raise DataError(
            f"{who}: its label `{label.column}` holds {bad[0]:g}, but labels are 0 or 1; {remedy}"
        )
    return found


def not_binary(labels: Array) -> Array:
    """Which labels are neither 0 nor 1 nor missing: bool [N]."""
    wrong: Array = ~((labels == 0) | (labels == 1) | np.isnan(labels))
    return wrong


def raw_labels(who: str, label: Label, batch: pa.Table) -> Array:
    """What a label's column or comparison gives, whatever it is: float32 [N]."""
    given = [decoded(as_array(batch[name])) for name in label.columns]
    try:
        read = [numeric(who, name, c) for name, c in zip(label.columns, given, strict=True)]
    except DataError as error:
        what = "labels are numbers" if label.op is None else f"cannot evaluate `{label}`"
        raise DataError(f"{error}; {what}") from None
    columns = [_without_nan(column) for column in read]  # text may spell NAN, too
    if label.op is None:
        return numbers(who, label.column, columns[0])
    try:
        one, *others = _to_compare(given, columns)
        found = compared(label.op, one, *(others or [label.other]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        kinds = " and ".join(f"`{n}` is {batch[n].type}" for n in label.columns)
        raise DataError(
            f"{who}: cannot evaluate `{label}`: {kinds}; write int64, float32 or float64"
        ) from None
    return numbers(who, label.column, found)


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


def _without_nan(column: Column) -> Column:
    """NaN is a way to write missing; comparisons would take it for a number."""
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), None, column)
    return column
