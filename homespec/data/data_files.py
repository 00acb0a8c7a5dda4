"""Data: Parquet or CSV files and folders as one source of rows, in parts that can be read alone.

CSV has no types: every column is text, and is read as the type that the spec needs (see `columns`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.fs

from homespec.data import DataError
from homespec.data.arrow_types import common_type, decoded_type
from homespec.data.paths import checked, reachable, walked
from homespec.diagnostics.suggest import closest, listing

SUFFIXES = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".csv.gz": "csv"}
NULLS = ("", "NULL", "null", "NaN", "nan", "None")
"""Texts that mean a missing value, in a cell of CSV or of another file."""
OTHER_MARKS = ("\t", ";", "|")
"""Possible separators in a header line without commas."""
SCAN_ROWS = 16_384
"""Rows that are decoded at a time."""
NAMED = 5
"""Maximum number of skipped files that are named; of more, the number is given."""

LOCAL = pyarrow.fs.LocalFileSystem()
PARQUET = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)
CSV = ds.CsvFileFormat(
    pa.csv.ParseOptions(newlines_in_values=True),  # otherwise, a quoted line break may end a block
    default_fragment_scan_options=ds.CsvFragmentScanOptions(
        convert_options=pa.csv.ConvertOptions(strings_can_be_null=True, null_values=list(NULLS))
    ),
)


FORMATS = {"parquet": PARQUET, "csv": CSV}


@dataclass(frozen=True)
class DataFile:
    """One file, open to be read."""

    path: Path
    format: str
    """`parquet` or `csv`."""
    schema: pa.Schema
    """Its columns; CSV columns are text."""
    fragment: ds.Fragment

    def chunks(self) -> Iterator[Chunk]:
        """The row groups of a Parquet file, or a whole CSV file, whose rows must be counted."""
        with _naming(self.path):
            if self.format == "csv":
                yield Chunk(self, None, self.fragment.count_rows())
            else:
                for group in self.fragment.row_groups:
                    yield Chunk(self, group.id, group.num_rows)


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one file that can be read without those before them."""

    file: DataFile
    group: int | None
    rows: int

    def batches(self, schema: pa.Schema, threads: bool = True) -> Iterator[pa.RecordBatch]:
        """The columns of `schema`, in batches.

        Raises DataError, which names the file, if it is broken.
        """
        fragment, left = self.file.fragment, self.rows
        with _naming(self.file.path):
            if self.group is not None:
                fragment = fragment.subset(row_group_ids=[self.group])
            for batch in fragment.to_batches(
                schema=schema, columns=schema.names, batch_size=SCAN_ROWS, batch_readahead=4,
                use_threads=threads,
            ):  # fmt: skip
                part = batch.slice(0, left)
                left -= part.num_rows
                if part.num_rows:
                    if self.file.format == "parquet":  # for CSV, pyarrow has checked this
                        _check_text(self.file.path, part)
                    yield part
                if not left:
                    return
        raise DataError(f"{self.file.path} has fewer rows than when it was opened: start again")


def _check_text(path: Path, batch: pa.RecordBatch) -> None:
    """Raise DataError for text that is not UTF-8, on which pyarrow's functions fail."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
            raise DataError(
                f"{path}: its column `{name}` is not UTF-8: write it as UTF-8"
            ) from None


REMEDIES = {
    "\0": "write it as UTF-8",  # it is UTF-16
    "multiple columns named": "its first line must name the columns, each once",
    "Empty CSV": "its first line must name the columns",
    "UTF8": "write it as UTF-8",
    "'utf-8' codec": "write it as UTF-8",
    "Expected 1 columns": "write it with commas between cells and points in numbers, or as parquet",
    "not in range: -9007199254740992": "its integers do not fit the floats of another file: write"
    " the files with one type",
    "not in range: 0 to 9223372036854775807": "its unsigned integers do not fit the integers of"
    " another file: write the files with one type",
    "straddling": "a quote that opens a cell is not closed, or a row is longer than 1 MiB",
}
"""Remedies by the error of pyarrow."""


@contextmanager
def _naming(path: Path, verdict: str = "is broken") -> Iterator[None]:
    """Report errors of pyarrow as one line about the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = re.sub("^Could not open .* input source '.*': ", "", reason)[:200]
        remedy = next(
            (r for words, r in REMEDIES.items() if words in reason), "create or download it again"
        )
        raise DataError(f"{path} {verdict} ({reason}); {remedy}") from None


class DataFiles:
    """The rows of one or more files, in the order of the files."""

    def __init__(
        self, files: Sequence[DataFile], limit: int | None = None, left_out: Sequence[Path] = ()
    ) -> None:
        """Create a source from files of one format; `limit` keeps only the first rows.

        `left_out` are files of the same folders that are skipped because of their names.
        """
        self.files = tuple(files)
        self.limit = limit
        self.left_out = tuple(left_out)

    def __str__(self) -> str:
        """Its name in messages."""
        more = len(self.files) - 1
        first = str(self.files[0].path)
        return f"{first} and {more} more {'file' if more == 1 else 'files'}" if more else first

    @cached_property
    def chunks(self) -> tuple[Chunk, ...]:
        """The parts that can be read alone, in order; CSV files are read once to count rows."""
        chunks, left = list[Chunk](), sys.maxsize if self.limit is None else self.limit
        for chunk in (chunk for file in self.files for chunk in file.chunks() if chunk.rows):
            chunks.append(replace(chunk, rows=min(chunk.rows, left)))
            left -= chunks[-1].rows
            if not left:
                break
        return tuple(chunks)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(chunk.rows for chunk in self.chunks)

    def place(self, row: int) -> tuple[Path, int]:
        """The file of a row, and the index of the row in it; both count from 0."""
        file, before = self.chunks[0].file, 0
        for chunk in self.chunks:
            if chunk.file is not file:
                file, before = chunk.file, 0
            if row < chunk.rows:
                break
            before, row = before + chunk.rows, row - chunk.rows
        return file.path, before + row

    def first(self, rows: int | None) -> DataFiles:
        """The first rows; all for None."""
        return self if rows is None else DataFiles(self.files, rows, self.left_out)

    @property
    def not_read(self) -> str | None:
        """A line on skipped rows, or None."""
        names, more = self.left_out[:NAMED], len(self.left_out) - NAMED
        if not names:
            return None
        rest = f" and {more} more" if more > 0 else ""
        return (
            "not read, because their names begin with `.` or `_`: "
            f"{', '.join(map(str, names))}{rest}"
        )

    def type_of(self, column: str, exact: bool = False) -> pa.DataType:
        """The type of a column in all files; text for CSV.

        Raises DataError, which names the first file that lacks the column or has an incompatible
        type. With `exact`, types are also incompatible if numbers of a file would change.
        """
        result = first = None
        for file in self.files:
            if column not in file.schema.names:
                raise DataError(f"{file.path} lacks the column `{column}`, which other files have")
            kind = decoded_type(file.schema.field(column).type)
            first = first or kind
            result = common_type(result or kind, kind, exact)
            if result is None:
                raise DataError(
                    f"{file.path}: its column `{column}` is {kind}, but {first} in"
                    f" {self.files[0].path}: write the files with one type"
                )
        return result

    def missing(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Columns of `wanted` (column -> who needs it) that no file has, each with a suggestion."""
        return {column: self._meant(column) for column in wanted if column not in self._columns}

    def _meant(self, name: str) -> str:
        """The column that a name probably means; "" if there is none.

        The name may consist of several words, such as `is-click`, each of which a label reads as a
        column.
        """
        longer = (column for column in self._columns if name in re.split(r"\W+", column))
        return closest(name, self._columns) or next(longer, "")

    @cached_property
    def _columns(self) -> dict[str, None]:
        """The columns of all files, in order."""
        return dict.fromkeys(name for file in self.files for name in file.schema.names)

    def schema(self, wanted: Mapping[str, str], exact: frozenset[str] = frozenset()) -> pa.Schema:
        """The types of the columns of `wanted` (column -> who needs it).

        Columns in `exact` hold numbers that must not change, not even from float32 to float64.
        Raises DataError, which names all missing columns, or a file that differs from the others.
        """
        missing = self.missing(wanted)
        if missing:
            lacking = "; ".join(
                f"{wanted[column]} wants the column `{column}`"
                + (f" (did you mean `{close}`?)" if close else "")
                for column, close in missing.items()
            )
            known = "" if all(missing.values()) else f". The columns are {listing(self._columns)}"
            raise DataError(f"{self} lacks columns: {lacking}{known}")
        return pa.schema([(column, self.type_of(column, column in exact)) for column in wanted])


def open_files(paths: Sequence[Path]) -> DataFiles:
    """The rows of files (.parquet, .csv, .csv.gz) and of all such files in folders.

    Folders are searched as described at `walked`. Raises DataError if no files are found, if
    formats are mixed, or for a broken file.
    """
    with reachable():
        left_out: list[Path] = []
        files = [_open(file) for path in paths for file in _files(path, left_out)]
    if len({file.format for file in files}) > 1:
        one, other = files[0], next(f for f in files if f.format != files[0].format)
        raise DataError(
            f"{one.path} and {other.path} have different formats: give files of one format"
        )
    return DataFiles(files, left_out=left_out)


def _files(path: Path, left_out: list[Path]) -> list[Path]:
    if not path.is_dir():
        return [checked(path)]
    seen, before = {path.resolve()}, len(left_out)
    files = list(walked(path, lambda file: format_of(file) is not None, seen, left_out))
    if not files:
        hidden = [str(file) for file in left_out[before:]]
        but = f" but {hidden[0]}: names that begin with `.` or `_` are skipped" if hidden else ""
        raise DataError(f"the folder {path} holds no .parquet, .csv or .csv.gz file{but}")
    return files


def format_of(path: Path) -> str | None:
    """`parquet` or `csv` by the name of a file, None for other names."""
    name = path.name.lower()
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), None)


def _open(path: Path) -> DataFile:
    kind = format_of(path)
    if kind is None:
        raise DataError(f"{path} is neither .parquet nor .csv nor .csv.gz")
    fragment = FORMATS[kind].make_fragment(str(path), LOCAL)
    with _naming(path, "is not a parquet file" if kind == "parquet" else "is broken"):
        schema = fragment.physical_schema
        first, *others = schema.names or [""]  # in CSV, bytes that may not be UTF-8
    if kind == "csv":
        for mark in OTHER_MARKS:
            if mark in first and not others:
                raise DataError(
                    f"{path} separates its cells by {mark!r}: write it with commas, or as parquet"
                )
        schema = pa.schema([(name, pa.string()) for name in schema.names])
    for name in schema.names:
        if len(schema.get_all_field_indices(name)) > 1:
            raise DataError(f"{path} has two columns `{name}`")
    return DataFile(path, kind, schema, fragment)
