"""Scoring: writes tables one after the other to a Parquet or CSV file, atomically."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from homespec.atomic_write import replacing
from homespec.data.data_files import SUFFIXES, DataFiles, format_of
from homespec.scoring import ScoringError
from homespec.train.losses import FILE as LOSSES_FILE

GROUP_ROWS = 131_072
GROUP_BYTES = 64 * 2**20
"""A Parquet row group is written when it has this number of rows or bytes."""

GZIP_LEVEL = 1
"""Ten times as fast as pyarrow's default level, and the file is a tenth larger."""

Append = Callable[[pa.Table], None]


def check_output(out: Path, files: DataFiles, data: Iterable[Path], schema: pa.Schema) -> None:
    """Raise ScoringError early if `out` cannot hold the scores of `files`."""
    if format_of(out) is None:
        raise ScoringError(f"{out} is neither {' nor '.join(SUFFIXES)}: name such a file")
    if out.exists() and not out.is_file():
        raise ScoringError(f"{out} exists and is not a file: name another one")
    for file in files.files:
        if out.exists() and out.samefile(file.path):
            raise ScoringError(f"{out} is one of the input files: name another one")
    for folder in data:
        if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
            raise ScoringError(
                f"{out} is inside {folder}, whose files are read as data: name a file elsewhere"
            )
    if format_of(out) == "csv":
        for field in schema:
            if not _is_cell(field.type):
                raise ScoringError(
                    f"the column `{field.name}` is {field.type}, which CSV cannot hold: write"
                    " .parquet, or keep other columns"
                )


def _is_cell(kind: pa.DataType) -> bool:
    """Whether a CSV cell can hold a value of this type. pyarrow fails only later, at a row."""
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind)
        or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        or types.is_null(kind) or types.is_temporal(kind)
    )  # fmt: skip


def check_not_of_run(out: Path, run: Path) -> None:
    """Raise ScoringError for the losses file of a run, the only file of a run with such a name."""
    if out.resolve() == run.resolve() / LOSSES_FILE:
        raise ScoringError(f"{out} is a file of the run: name another one")


@contextmanager
def writing(out: Path, schema: pa.Schema) -> Iterator[Append]:
    """A function that appends a table of this schema to the new file `out`.

    The file replaces an existing one when the block succeeds. Raises ScoringError with the reason
    if it cannot be written.
    """
    with _explained(out), replacing(out) as (new,):
        opened = _parquet(new, schema) if format_of(out) == "parquet" else _csv(new, schema)
        with opened as append:
            yield append


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        raise ScoringError(f"{out} cannot be written ({reason})") from None


@contextmanager
def _parquet(path: Path, schema: pa.Schema) -> Iterator[Append]:
    repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]
    with pq.ParquetWriter(
        path, schema, use_dictionary=repeating, write_page_checksum=True
    ) as writer:
        held: list[pa.Table] = []

        def flush() -> None:
            if held:
                writer.write_table(pa.concat_tables(held), row_group_size=GROUP_ROWS)
                held.clear()

        def append(table: pa.Table) -> None:
            held.append(table)
            rows, size = (sum(each) for each in zip(*map(_size, held), strict=True))
            if rows >= GROUP_ROWS or size >= GROUP_BYTES:
                flush()

        yield append
        flush()


def _size(table: pa.Table) -> tuple[int, int]:
    return table.num_rows, table.nbytes


@contextmanager
def _csv(path: Path, schema: pa.Schema) -> Iterator[Append]:
    with _stream(path) as stream, pyarrow.csv.CSVWriter(stream, schema) as writer:
        yield writer.write_table


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO]:
    """The output stream, compressed if the name ends in .gz. The same rows give the same bytes."""
    with path.open("wb") as file:
        if path.suffix.lower() != ".gz":
            yield file
            return
        with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as compressed:
            yield cast(BinaryIO, compressed)
