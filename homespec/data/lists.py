"""Data: the list columns of one feature, with equal lengths and without padding. No torch.

A list may be padded with a declared value. It is removed from all columns of the feature before the
lists are cut to the length that the model sees.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from homespec.data import DataError, columns
from homespec.data.cell_ids import text_id
from homespec.data.columns import Array, Column
from homespec.schema.input_tensors import InputTensor


class Lists(NamedTuple):
    """The lists of one column of N rows."""

    tensor: InputTensor
    sizes: Array
    """The number of elements of each list in the file, int64 [N]."""
    there: Array | None
    """Which elements are not padding, bool [E]; None if all are kept."""
    lists: pa.ListArray
    """The lists without padding."""


def read_lists(tensor: InputTensor, column: Column, first: Lists | None) -> Lists:
    """A column of the feature; `first` is its first column, with at least as many rows.

    Raises DataError for values that are not lists, and for lists of another length than those of
    `first`.
    """
    lists = columns.as_lists(tensor, column)
    sizes = columns.lengths(lists)
    if first is None:
        there = _no_padding(tensor, lists)
    else:
        check_even(first.tensor, first.sizes[: len(sizes)], tensor, sizes)
        there = None if first.there is None else first.there[: sizes.sum()]
    return Lists(tensor, sizes, there, lists if there is None else _only(lists, sizes, there))


def _no_padding(tensor: InputTensor, lists: pa.ListArray) -> Array | None:
    if not tensor.padding:
        return None
    flat = lists.flatten()
    with columns.naming(f"feature `{tensor.feature}`", tensor.column):
        if tensor.kind == "id":
            there: Array = columns.ids(flat) != text_id(tensor.padding)
            return there
        numbers = columns.exact_numbers(flat)
        try:
            return np.asarray(numbers != float(tensor.padding))
        except ValueError:
            said = f"holds numbers, but the padding {tensor.padding!r} is not a number"
            raise DataError(said) from None


def _only(lists: pa.ListArray, sizes: Array, there: Array) -> pa.ListArray:
    """The elements that are `there` [E], in their lists of `sizes` [N]."""
    counts = np.concatenate([[0], np.cumsum(there)])
    offsets = counts[np.concatenate([[0], np.cumsum(sizes)])]
    kept = lists.flatten().filter(pa.array(there))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), kept, mask=pc.is_null(lists))


def check_even(one: InputTensor, sizes: Array, other: InputTensor, others: Array) -> None:
    """Raise DataError if two fields of one sequence have lists of different lengths in a row."""
    uneven = np.flatnonzero(sizes != others)
    if len(uneven):
        row = uneven[0]
        what = "values" if one.pool else "events"
        rule = "a list and its weights" if one.pool else "the fields of a sequence"
        lacking = "a value has no weight" if one.pool else "an event lacks a field"
        raise DataError(
            f"feature `{one.feature}`: a row has {sizes[row]} {what} in `{one.column}` and"
            f" {others[row]} in `{other.column}`; {rule} must have the same length, with null "
            f"where {lacking}"
        )
