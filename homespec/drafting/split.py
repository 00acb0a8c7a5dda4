"""Drafting: splits a table into train.parquet and valid.parquet, holding out the latest rows.

Without a time, a random tenth of the rows is held out. Rows are processed in slabs, so memory does
not grow.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from homespec.atomic_write import replacing
from homespec.data import DataError
from homespec.data.cell_ids import BLANKS
from homespec.data.chunk_reader import slabs
from homespec.data.columns import Array, numbers
from homespec.data.data_files import DataFiles
from homespec.diagnostics.render.terminal import printable
from homespec.drafting.days import Order, keys, order_of
from homespec.drafting.draft import Draft
from homespec.drafting.seen import Seen

HELD_OUT = 0.1
"""The share of the rows that is held out."""
LEAST, MOST = 0.05, 0.3
"""The range of the share of rows that the latest times may have to be held out."""


@dataclass(frozen=True)
class Split:
    """The rule for held-out rows: those from a certain time, or a random share."""

    column: str = ""
    first: str = ""
    """The earliest held-out value, as it is written."""
    number: float = 0.0
    order: Order | None = None
    """The order of the parts of days as text; None for numbers."""
    share: float = HELD_OUT

    def __str__(self) -> str:
        """The rule in words, for the terminal."""
        if not self.column:
            return f"a random {100 * self.share:.0f}% of the rows"
        return printable(f"the rows from `{self.column}` {self.first} on")

    def held_out(self, table: pa.Table, random: np.random.Generator) -> Array:
        """Whether each row of a table is held out, bool [N]."""
        if not self.column:
            places = random.permutation(table.num_rows)
            return np.asarray(places < max(1, round(self.share * table.num_rows)))
        cells = table[self.column].combine_chunks()
        if self.order is not None:
            texts = pc.ascii_trim(cells.cast(pa.string()), BLANKS)
            return keys(texts, self.order) >= self.number
        return np.asarray(numbers(cells, pa.float64()) >= self.number)


def split_of(draft: Draft) -> Split:
    """The latest tenth by a time, or about as much as its last values have; else a random tenth."""
    coarse_first = sorted(draft.times, key=lambda seen: seen.distinct)  # days before moments
    return next((split for seen in coarse_first if (split := _by(seen)) is not None), Split())


def _by(seen: Seen) -> Split | None:
    """The split by a time; None if no value of it splits off a suitable share."""
    if seen.absent or seen.distinct < 2:
        return None
    parts, values = None, seen.numbers
    if values is None:
        parts = order_of(seen.values.to_pylist())
        if parts is None:
            return None
        values = keys(seen.values, parts)
    order = np.argsort(values, kind="stable")
    later = np.cumsum(seen.counts[order][::-1])[::-1] / seen.rows
    place = int(np.argmin(np.abs(later - HELD_OUT)))
    if not LEAST <= later[place] <= MOST:
        return None
    first = int(order[place])
    said = str(seen.values[first].as_py())
    return Split(seen.name, said, float(values[first]), parts, float(later[place]))


def _schema(files: DataFiles) -> pa.Schema:
    """The columns that have the same type in all files."""
    types = {}
    for name in files.files[0].schema.names:
        with suppress(DataError):
            types[name] = files.type_of(name)
    return pa.schema(list(types.items()))


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)


def write(
    files: DataFiles, split: Split, folder: Path, advance: Callable[[int], None]
) -> dict[str, int]:
    """Write both parts atomically, and return their numbers of rows. Raises DataError, OSError."""
    schema = _schema(files)
    paths = [folder / f"{part}.parquet" for part in ("train", "valid")]
    rows = dict.fromkeys(("train", "valid"), 0)
    random = np.random.default_rng(0)
    with replacing(*paths) as temporary:
        train, valid = (_writer(path, schema) for path in temporary)
        with train, valid:
            for table in slabs(files, schema):
                held_out = split.held_out(table, random)
                for part, writer, mask in (("train", train, ~held_out), ("valid", valid, held_out)):
                    own = table.filter(pa.array(mask))
                    rows[part] += own.num_rows
                    if own.num_rows:
                        writer.write_table(own)
                advance(table.num_rows)
        for part, count in rows.items():
            if not count:
                raise DataError(
                    f"{files} has too few rows to hold some out: none are left for {part}"
                )
    return rows
