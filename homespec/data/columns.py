"""Data: converts Arrow columns to the arrays that features and labels need. No torch.

Text that contains a whole number is that number wherever an id or a number is expected, so that a
column means the same in Parquet and in CSV, which has no types. Other text becomes an id by
hashing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from homespec.data import DataError
from homespec.data.cell_ids import BLANKS, MISSING, decimal_ids, float_ids, text_ids
from homespec.data.data_files import NULLS
from homespec.data.vocabulary import places
from homespec.schema.input_tensors import InputTensor

Array: TypeAlias = npt.NDArray[Any]
Column: TypeAlias = "pa.Array"
Failure = TypeVar("Failure", bound=Exception)
FLOAT32 = pa.float32()


def values(tensor: InputTensor, column: Column) -> Array:
    """A feature's values, one for each row: int64 [N], float [N] or float32 [N, width]."""
    with naming(f"feature `{tensor.feature}`", tensor.column):
        if tensor.kind == "id":
            return places(ids(column), tensor.texts) if tensor.texts else ids(column)
        if tensor.kind == "weight":
            return _finite_numbers(column)
        if tensor.kind == "vector":
            return vectors(column, tensor.width)
        return finite_numbers(column) if tensor.scale else exact_numbers(column)


@contextmanager
def naming(who: str, column: str) -> Iterator[None]:
    """Add the names of the column, and of who needs it, to errors in the block."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{who}: the column `{column}` {error}") from None


def events(tensor: InputTensor, lists: Column) -> Array:
    """A field of a sequence [N, length] or [N, length, width]: the latest events, oldest first.

    For a list of the candidate, these are the first values. They are padded with missing values. A
    null list has no values.
    """
    sizes = lengths(lists)
    kept = np.minimum(sizes, tensor.length)
    cut = _first if tensor.pool else _latest
    flat = values(tensor, lists.flatten() if (kept == sizes).all() else cut(lists, kept))
    out = missing((len(lists), tensor.length, *flat.shape[1:]), flat.dtype)
    out[np.arange(tensor.length) < kept[:, None]] = flat
    return out


def _latest(lists: Column, kept: Array) -> Column:
    """The last `kept` [N] elements of each list, concatenated."""
    return _elements(lists, np.asarray(lists.offsets)[1:] - kept, kept)


def _first(lists: Column, kept: Array) -> Column:
    """The first elements of each list, likewise."""
    return _elements(lists, np.asarray(lists.offsets)[:-1], kept)


def _elements(lists: Column, begins: Array, kept: Array) -> Column:
    """`kept` [N] elements of each list, starting at `begins` [N]."""
    place = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
    return lists.values.take(pa.array(np.repeat(begins, kept) + place))


def missing(shape: tuple[int, ...], kind: npt.DTypeLike) -> Array:
    """Missing values: -1 for ids, which are int64, NaN for numbers."""
    return np.full(shape, MISSING if kind == np.int64 else np.nan, kind)


def lengths(lists: Column) -> Array:
    """The number of elements of each list, 0 for null: int64 [N]."""
    return np.asarray(pc.list_value_length(lists).fill_null(0), np.int64)


def as_lists(tensor: InputTensor, column: Column) -> pa.ListArray:
    """The lists of a field of a sequence; text such as `1 2 3` or `[1, 2, 3]` is split."""
    column = decoded(column)
    kind = column.type
    if is_text(kind):
        return _split_at(column, tensor.separator) if tensor.separator else _split(column)
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.list_(pa.null()))
    if pa.types.is_fixed_size_list(kind):
        column = column.cast(pa.list_(kind.value_type))
    if not isinstance(column, pa.ListArray | pa.LargeListArray) or pa.types.is_map(kind):
        with naming(f"feature `{tensor.feature}`", tensor.column):
            raise DataError(f"is {kind}, not lists")
    return column


def _split(texts: Column) -> pa.ListArray:
    """Lists of the words of each text; brackets, commas and quotes also separate."""
    texts = or_missing(texts)
    bare = pc.utf8_trim(pc.replace_substring_regex(texts, r"""[\[\](),;"'\s]+""", " "), " ")
    return _words(bare, " ")


def _split_at(texts: Column, separator: str) -> pa.ListArray:
    """Lists of the parts of each text between separators, stripped of blanks."""
    return _words(or_missing(pc.ascii_trim(texts, BLANKS)), separator)


def _words(bare: Column, separator: str) -> pa.ListArray:
    """Lists of the words of each text; an empty text has none."""
    lists = pc.split_pattern(bare, separator)
    words = lists.values if separator == " " else pc.ascii_trim(lists.values, BLANKS)
    words = pc.if_else(pc.is_in(words, pa.array(NULLS)), None, words)
    empty = np.asarray(pc.fill_null(pc.equal(bare, ""), False))
    if not empty.any():
        return pa.ListArray.from_arrays(lists.offsets, words, mask=lists.is_null())
    kept = np.ones(len(words), bool)  # empty text was split into one empty word
    kept[np.asarray(lists.offsets)[:-1][empty]] = False
    offsets = np.concatenate([[0], np.cumsum(lengths(lists) - empty)])
    shorter = words.filter(pa.array(kept))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), shorter, mask=lists.is_null())


def ids(column: Column) -> Array:
    """Ids int64 [N]: whole numbers unchanged, other text hashed, -1 for missing values."""
    column = decoded(column)
    if pa.types.is_uint64(column.type):  # the same 64 bits, as in a tensor of int64
        return _array(column.fill_null(2**64 - 1)).view(np.int64)
    return _array(_whole(column).fill_null(MISSING))


def _whole(column: Column) -> Column:
    kind = column.type
    if is_text(kind):
        return text_ids(column)
    if pa.types.is_decimal(kind):
        return decimal_ids(column)
    if pa.types.is_floating(kind):
        return float_ids(column)
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return column.cast(pa.int64())
    raise DataError(f"is {kind}; ids are integers or text")


def exact_numbers(column: Column) -> Array:
    """Numbers [N] for comparisons with boundaries, NaN for missing values.

    A column of float32 stays float32. All others become the nearest float64, whatever their type
    and file, so that a cell always has the same bucket.
    """
    kind = _kind(column)
    if pa.types.is_float16(kind):
        raise DataError(
            f"is {kind}, which has too few digits for boundaries: write it as float32 or float64"
        )
    return numbers(column, kind if pa.types.is_float32(kind) else pa.float64())


def _kind(column: Column) -> pa.DataType:
    """The type of the values."""
    return column.type.value_type if pa.types.is_dictionary(column.type) else column.type


LARGEST = float(np.finfo(np.float32).max)


def finite_numbers(column: Column) -> Array:
    """Numbers [N] like `exact_numbers`, for columns of the input.

    They are not compared, so float16 is also allowed.
    """
    is_short = pa.types.is_float16(_kind(column))
    found = numbers(column) if is_short else exact_numbers(column)
    wrong = found[np.abs(found) > LARGEST]
    if len(wrong):
        raise DataError(
            f"holds {wrong[0]:g}, which the model cannot use: write null for a missing number"
            if np.isinf(wrong[0])
            else f"holds {wrong[0]:g}, which is too large for float32: choose another unit"
        )
    return found


def numbers(column: Column, kind: pa.DataType = FLOAT32) -> Array:
    """Numbers [N] of a float type, NaN for missing values."""
    try:
        floats = numeric(decoded(column)).cast(kind, safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # bytes that spell none; no such cast
        temporal = pa.types.is_temporal(column.type)
        remedy = (
            (": write it as whole numbers, for example of seconds or milliseconds")
            if temporal
            else ""
        )
        raise DataError(f"is {column.type}, not numbers{remedy}") from None
    return _array(floats.fill_null(float("nan")))


def numeric(column: Column) -> Column:
    """Text as the numbers (or true and false) that it contains; other columns unchanged.

    Decimals are also converted via text: the cast of pyarrow 26 turns 0.35 into
    0.35000000000000003.
    """
    if pa.types.is_null(column.type):
        return column.cast(pa.float64())
    if pa.types.is_decimal(column.type):
        return column.cast(pa.string()).cast(pa.float64())
    if not is_text(column.type):
        return column
    try:
        return _spelled(column)
    except pa.ArrowInvalid as error:
        rows, _ = shortest_failing(lambda rows: _spelled(column[:rows]), len(column), error)
    wrong = column[rows - 1].as_py()
    empty = wrong.strip().lower() in _NO_VALUES
    remedy = " (for a missing number, leave the cell empty or write null)" if empty else ""
    raise DataError(f"holds the text {wrong[:40]!r}, not numbers{remedy}")


_NO_VALUES = ("na", "n/a", "#n/a", "<na>", "nil", "missing", "unknown", "-", "?", "\\n")
"""Texts with which other programs write a missing number."""


def or_missing(texts: Column) -> Column:
    """Null in place of texts that mean missing. CSV files already have null here."""
    return pc.if_else(pc.is_in(pc.ascii_trim(texts, BLANKS), pa.array(NULLS)), None, texts)


def _spelled(column: Column) -> Column:
    return words_of(column).cast(pa.float64())


def words_of(column: Column) -> Column:
    """Text in which true and false are replaced by 1 and 0, without blanks."""
    bare = pc.utf8_lower(pc.utf8_trim_whitespace(or_missing(column)))
    words = pc.replace_substring_regex(bare, "^true$", "1")
    return pc.replace_substring_regex(words, "^false$", "0")


def shortest_failing(
    attempt: Callable[[int], object], size: int, error: Failure
) -> tuple[int, Failure]:
    """The smallest n for which `attempt(n)` raises, and its error; `attempt(size)` raises `error`.

    If `attempt(n)` raises, it must raise for all larger n, as for prefixes with a bad value.
    """
    low = 0
    while low < size:
        middle = (low + size) // 2
        try:
            attempt(middle)
            low = middle + 1
        except type(error) as earlier:
            error, size = earlier, middle
    return size, error


def vectors(column: Column, width: int) -> Array:
    """Vectors float32 [N, width], NaN for missing vectors and elements.

    A number is a vector of length 1.
    """
    column = decoded(column)
    if is_text(column.type):
        column = _split(column)
    if width == 1 and isnumeric(column.type):
        return _finite_numbers(column)[:, None]
    lists = pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray
    if not isinstance(column, lists) or pa.types.is_map(column.type):
        if pa.types.is_null(column.type):
            return missing((len(column), width), np.float32)
        wanted = f"lists of {width} numbers" if width > 1 else "numbers"
        raise DataError(f"is {column.type}, not {wanted}")
    sizes = pc.list_value_length(column)
    wrong = pc.filter(sizes, pc.not_equal(sizes, width))
    if len(wrong):
        raise DataError(
            f"has a list of {wrong[0]} numbers, but the spec says {width} for every row"
        )
    out = missing((len(column), width), np.float32)
    out[np.asarray(column.is_valid())] = _finite_numbers(column.flatten()).reshape(-1, width)
    return out


def _finite_numbers(column: Column) -> Array:
    floats = numbers(column)
    if np.isinf(floats).any():
        raise DataError("holds a number that is infinite, or too large for float32")
    return floats


def decoded(column: Column) -> Column:
    """Dictionaries become their values, views of text become text, booleans become 0 and 1."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    return column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def isnumeric(kind: pa.DataType) -> bool:
    """Whether a type is integers, floats or decimals, which booleans are decoded to."""
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _array(column: Column) -> Array:
    return np.array(column.to_numpy(zero_copy_only=False))
