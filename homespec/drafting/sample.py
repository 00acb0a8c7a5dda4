"""Drafting: samples the rows of files, in memory that does not grow with the files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from homespec.data import DataError
from homespec.data.arrow_types import decoded_type
from homespec.data.chunk_reader import ChunkReader
from homespec.data.columns import Array
from homespec.data.data_files import DataFiles

MAX_CELLS = 10_000_000
"""Maximum number of cells in a sample: wide tables have fewer rows."""
MAX_BYTES = 300_000_000
"""Maximum memory of a sample: tables with long lists and texts have fewer rows."""
FIRST = 1000
"""Number of rows from which memory is estimated."""
STRETCHES = 64
"""Number of stretches of rows in a sample, evenly spread over the files."""

Advance = Callable[[int], None]
"""A callback that receives the number of further rows that were read."""


@dataclass(frozen=True)
class Sample:
    """Some rows of files, in order."""

    files: DataFiles
    table: pa.Table
    """The columns that can be examined."""
    rows: int
    """Number of rows of the files."""
    unreadable: dict[str, str]
    """Columns that cannot be examined, with the reason."""
    half: Array
    """Whether each row is in every second stretch, bool [N]."""

    @property
    def is_whole(self) -> bool:
        """Whether the sample contains all rows."""
        return bool(self.table.num_rows == self.rows)


def take(files: DataFiles, rows: int, advance: Advance) -> Sample:
    """Sample about `rows` rows, fewer for wide tables. Raises DataError for a broken file.

    In parquet, only the row groups that contain sampled rows are decoded; CSV is read to its end.
    """
    schema, unreadable = _readable(files)
    wanted = min(files.rows, rows, max(STRETCHES, MAX_CELLS // max(1, len(schema))))
    if not len(schema):
        return Sample(files, pa.table({}), files.rows, unreadable, np.zeros(0, bool))
    reader, parts = ChunkReader(files.chunks, schema), []
    first = reader.table(0, min(FIRST, wanted))
    wanted = min(wanted, max(STRETCHES, MAX_BYTES * first.num_rows // max(1, first.nbytes)))
    for low, high in _stretches(files.rows, wanted):
        parts.append(reader.table(low, high))
        advance(high)
    odd = np.arange(len(parts)) % 2 == 1
    half = np.repeat(odd, [part.num_rows for part in parts])
    return Sample(files, pa.concat_tables(parts), files.rows, unreadable, half)


def _stretches(rows: int, wanted: int) -> list[tuple[int, int]]:
    """`wanted` rows out of all, as stretches (first row, end)."""
    parts = min(STRETCHES, wanted)
    if not parts:
        return []
    starts = [part * rows // parts for part in range(parts)]
    sizes = [(part + 1) * wanted // parts - part * wanted // parts for part in range(parts)]
    return [(start, min(start + size, rows)) for start, size in zip(starts, sizes, strict=True)]


def _readable(files: DataFiles) -> tuple[pa.Schema, dict[str, str]]:
    """The types of the columns that can be examined, and the other columns with the reason."""
    types, problems = {}, {}
    for name in dict.fromkeys(name for file in files.files for name in file.schema.names):
        try:
            kind = decoded_type(files.type_of(name))
        except DataError:
            problems[name] = "its type, or whether it is there, differs from file to file"
            continue
        reason = _why_not(kind)
        if reason:
            problems[name] = reason
        else:
            types[name] = kind
    return pa.schema(list(types.items())), problems


def _why_not(kind: pa.DataType) -> str:
    """Why a column of this type cannot be a feature; "" if it can."""
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = kind.value_type
        if types.is_nested(inner) or _why_not(inner):
            return f"lists of {_short(inner)}: take them apart when you prepare the data"
        return ""
    if types.is_map(kind) or types.is_struct(kind) or types.is_union(kind):
        return f"{_short(kind)}: write its parts as columns"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return "bytes: write ids as text or integers"
    if types.is_duration(kind) or types.is_time(kind):
        return f"{_short(kind)}: write it as a whole number, of seconds say"
    plain = (
        types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        or types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind)
        or types.is_null(kind) or types.is_date(kind) or types.is_timestamp(kind)
    )  # fmt: skip
    return "" if plain else f"{_short(kind)}: no input is made of it"


def _short(kind: pa.DataType) -> str:
    """The first word of a type: a struct may have hundreds of named fields."""
    return re.split(r"[<\[]", str(kind))[0]
