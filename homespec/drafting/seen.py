"""Drafting: the contents of a sampled column: its values, their counts, and which are numbers.

Cells are read as training reads them (`homespec.data.columns`), so what counts as missing, as a
number and as one id is the same here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from homespec.data import DataError, columns
from homespec.data.cell_ids import BLANKS, MISSING
from homespec.data.columns import Array
from homespec.data.list_profile import ListProfile

MAX_EXACT = 2**53
PLAIN = r"[0-9]+(?:\.[0-9]+)?"
GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?"
COMMA = r"[0-9]+,[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]+|[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+"
"""Text of digits with several commas is more likely a list."""
UNIT = "[%$€£¥]"
ANY = f"(?:{GROUPED}|{PLAIN}|{COMMA})"
WRITTEN = rf"^[+-]?(?:{PLAIN}|{COMMA}|{UNIT} ?-?{ANY}|{ANY} ?{UNIT})$"
"""Formatted numbers: `$1,200.50`, `0,37`, `12 %`."""
NO_NUMBER = ("?", "na", "n/a", "#n/a", "-", "unknown", "missing", "none", "\\n")
"""Texts that other programs write for a missing number."""


@dataclass
class Seen:
    """A column of a sample of N rows."""

    name: str
    kind: pa.DataType
    codes: Array
    """The index of each row's value in `values`, -1 if missing; int32 [N]."""
    values: pa.Array
    """The D distinct values, as they are written."""
    half: Array
    """Whether each row is in the first of two halves of the sample, bool [N]."""
    total: int
    """Number of rows of all files."""

    @property
    def rows(self) -> int:
        """Number of rows of the sample."""
        return len(self.codes)

    @cached_property
    def counts(self) -> Array:
        """The count of each value, [D]."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    @cached_property
    def absent(self) -> int:
        """Number of rows without a value."""
        return int((self.codes < 0).sum())

    @property
    def present(self) -> int:
        """Number of rows with a value."""
        return self.rows - self.absent

    @property
    def distinct(self) -> int:
        """Number of distinct values in the sample."""
        return len(self.values)

    @cached_property
    def numbers(self) -> Array | None:
        """The values as numbers [D]; None if one of them is not a number."""
        if pa.types.is_temporal(self.kind) or not self.distinct:
            return None
        try:
            floats = columns.numbers(self.values, pa.float64())
        except DataError:
            return None
        return None if np.isnan(floats).any() else floats

    @property
    def row_numbers(self) -> Array:
        """The number of each row [N], NaN if missing; for a column of numbers."""
        assert self.numbers is not None
        return np.append(self.numbers, np.nan)[self.codes]

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers that float64 represents exactly."""
        numbers = self.numbers
        if numbers is None:
            return False
        with np.errstate(invalid="ignore"):
            return bool((np.isfinite(numbers) & (np.round(numbers) == numbers)
                         & (np.abs(numbers) < MAX_EXACT)).all())  # fmt: skip

    @property
    def is_count(self) -> bool:
        """Whether all values are non-negative whole numbers, and there are more than two."""
        numbers = self.numbers
        return numbers is not None and self.is_whole and len(numbers) > 2 and not numbers.min()

    @property
    def is_huge(self) -> bool:
        """Whether all values are integers, some of which are too large for float64."""
        numbers = self.numbers
        if numbers is None or np.abs(numbers).max() < MAX_EXACT:
            return False
        whole = pa.types.is_integer(self.kind) or columns.is_text(self.kind)
        return whole and bool(np.isfinite(numbers).all()) and self.ids is not None

    @cached_property
    def ids(self) -> Array | None:
        """The values as ids, int64 [D], without missing ones; None if they cannot be ids."""
        try:
            found = columns.ids(self.values)
        except DataError:
            return None
        return found

    @property
    def is_text(self) -> bool:
        """Whether it contains text that is not a number."""
        return columns.is_text(self.kind) and self.numbers is None

    @property
    def is_binary(self) -> bool:
        """Whether all its values are 0 or 1, and both occur."""
        numbers = self.numbers
        return numbers is not None and set(numbers.tolist()) == {0.0, 1.0}

    @cached_property
    def texts(self) -> list[str]:
        """The values as text, the most frequent first."""
        order = np.argsort(-self.counts, kind="stable")
        return [str(self.values[int(place)].as_py()) for place in order]

    @cached_property
    def expected(self) -> int:
        """The estimated number of distinct values in all rows.

        Estimated by capture and recapture: a b / c, where two halves of the sample have a and b
        values, c of them in common. If rows are sorted by the column, few are in common, which
        gives the right estimate.
        """
        if self.rows == self.total or not self.distinct:
            return self.distinct
        one, other = (
            np.bincount(self.codes[rows & (self.codes >= 0)], minlength=self.distinct)
            for rows in (self.half, ~self.half)
        )
        both = max(1, int(((one > 0) & (other > 0)).sum()))
        estimate = int((one > 0).sum()) * int((other > 0).sum()) // both
        most = self.distinct * self.total // max(1, self.rows)
        return max(self.distinct, min(estimate, most))

    @property
    def repeats(self) -> float:
        """Rows per value, over all rows."""
        present = self.present / max(1, self.rows) * self.total
        return present / max(1, self.expected)

    @cached_property
    def almost_numbers(self) -> str:
        """The text of the few cells that are not numbers if most are; "" if there are none."""
        if not self.is_text or self.distinct < 3:
            return ""
        odd = pc.is_in(pc.utf8_lower(self.values), pa.array(NO_NUMBER, self.values.type)).to_numpy(
            zero_copy_only=False
        )
        if not odd.any() or odd.all():
            return ""
        try:
            columns.numbers(self.values.filter(pa.array(~odd)), pa.float64())
        except DataError:
            return ""
        return str(self.values.filter(pa.array(odd))[0].as_py())

    @cached_property
    def written_numbers(self) -> str:
        """An example of a formatted number, if all text of the column is such; "" otherwise."""
        if not self.is_text or not pc.all(pc.match_substring_regex(self.values, WRITTEN)).as_py():
            return ""
        plain = pc.match_substring_regex(self.values, rf"^[+-]?{PLAIN}$")
        odd = self.values.filter(pc.invert(plain))
        return str(odd[0].as_py()) if len(odd) else ""


@dataclass
class SeenLists:
    """A column of lists in a sample."""

    name: str
    kind: pa.DataType
    """The elements as a column."""
    sizes: Array
    """The number of elements of each row, 0 if missing; int64 [N]."""
    elements: Seen
    profile: ListProfile
    separator: str = ""
    """Their separator in text; "" for lists and for default separators."""

    @property
    def rows(self) -> int:
        """Number of rows of the sample."""
        return len(self.sizes)

    @property
    def padding(self) -> str:
        """The value that looks like padding; "" if there is none."""
        found = next((run for run in self.profile.runs if run.padding), None)
        return found.example if found else ""


def look_at(name: str, column: pa.ChunkedArray, half: Array, total: int) -> Seen:
    """Examine a column of single values; dates and times are kept as text."""
    kind = column.type
    cells = columns.decoded(column.combine_chunks())
    if pa.types.is_null(kind):
        cells = cells.cast(pa.int64())
    elif pa.types.is_temporal(kind):
        cells = cells.cast(pa.string())
    elif columns.is_text(kind):
        cells = columns.or_missing(pc.ascii_trim(cells, BLANKS))
    elif pa.types.is_floating(kind):
        cells = cells.cast(pa.float32()) if pa.types.is_float16(kind) else cells
        cells = pc.if_else(pc.is_nan(cells), None, cells)
    encoded = cells.dictionary_encode()
    codes = np.array(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int32)
    return Seen(name, kind, codes, encoded.dictionary, half, total)


def look_at_lists(
    name: str, lists: pa.ListArray, separator: str, half: Array, total: int
) -> SeenLists:
    """Examine a column of lists; `total` is the number of rows of all files."""
    sizes = columns.lengths(lists)
    flat = lists.flatten()
    all_elements = len(flat) * total // max(1, len(sizes))
    elements = look_at(name, pa.chunked_array([flat]), np.repeat(half, sizes), all_elements)
    profile = ListProfile()
    ids = elements.ids
    if ids is not None:
        profile.add(columns.decoded(flat), np.append(ids, MISSING)[elements.codes], sizes)
    return SeenLists(name, flat.type, sizes, elements, profile, separator)
