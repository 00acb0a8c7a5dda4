"""Data: detects lists that are padded, and text that is not split into a list."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from homespec.data.cell_ids import MISSING
from homespec.data.columns import Array, Column, is_text

PADDED = 0.1
"""Share of lists that end, or begin, with one repeated value, above which it looks like padding."""
INSIDE = 0.01
"""Largest share of lists that may contain this value elsewhere if it is padding."""
SINGLE = 0.95
"""Share of lists with one element above which the elements are examined."""
UNSPLIT = 0.1
"""Share of these elements with a separator above which they look like lists."""

_ALWAYS = "|^#~&\x01\x02\x1e\x1f，、；"
_OFTEN = {":": ".+", "/": ".+", "-": "[0-9]+", "_": "[0-9]+", "+": "[0-9]+", ".": "[0-9]+"}
"""Characters that single ids also contain: times, paths, dates.

One of them is a separator if its count varies or is `MIN_SEPARATORS`, and all parts have this form.
"""
MIN_SEPARATORS = 4
SEPARATORS = {mark: (re.escape(mark), False) for mark in _ALWAYS} | {
    mark: (f"^{part}(?:{re.escape(mark)}{part})+$", True) for mark, part in _OFTEN.items()
}
"""By separator: the pattern of an element that contains it, and whether its count must vary."""


@dataclass
class Run:
    """One value, repeated at the end (or the beginning) of lists."""

    at_end: bool
    value: float | None = None
    """The most common value in the first slab that has any."""
    example: str = ""
    """The same value, as it is written."""
    lists: int = 0
    repeated: int = 0
    """Number of lists that end with it at least twice, and of its events there."""
    events: int = 0
    inside: int = 0
    """Number of lists that contain it elsewhere."""

    @property
    def padding(self) -> bool:
        """Whether it looks like padding: it is often at this end and rarely elsewhere."""
        return self.repeated > PADDED * self.lists and self.inside <= INSIDE * self.lists

    def add(self, flat: Array, ends: Array, sizes: Array, cells: Column) -> None:
        """Record lists: events [E], the end of each list [N], and their sizes > 0."""
        self.lists += len(sizes)
        if self.value is None:
            self._choose(flat, ends, sizes, cells)
        if self.value is None:
            return
        starts, places, same = ends - sizes, np.arange(len(flat)), flat == self.value
        if self.at_end:
            last_other = np.maximum.reduceat(np.where(same, -1, places), starts)
            run = ends - 1 - np.maximum(last_other, starts - 1)
        else:
            first_other = np.minimum.reduceat(np.where(same, len(flat), places), starts)
            run = np.minimum(first_other, ends) - starts
        self.repeated += int((run > 1).sum())
        self.events += int(run[run > 1].sum())
        self.inside += int((np.add.reduceat(same, starts, dtype=np.int64) > run).sum())

    def _choose(self, flat: Array, ends: Array, sizes: Array, cells: Column) -> None:
        long = sizes > 1
        places = ends[long] - 1 if self.at_end else (ends - sizes)[long]
        last, before = flat[places], flat[places + (-1 if self.at_end else 1)]
        there = last == before  # NaN is never equal
        if flat.dtype.kind == "i":
            there &= last != MISSING
        values, first, counts = np.unique(last[there], return_index=True, return_counts=True)
        if len(values):
            most = counts.argmax()
            self.value = values[most].item()
            self.example = str(cells[int(places[there][first[most]])].as_py())


@dataclass
class Inside:
    """A separator inside the elements of lists with one element."""

    lists: int = 0
    least: int = 0
    most: int = 0
    """How often an element contains it."""
    example: str = ""


@dataclass
class ListProfile:
    """Statistics of the lists of a column."""

    lists: int = 0
    """Number of lists with any element, and of those with exactly one."""
    single: int = 0
    runs: tuple[Run, Run] = field(default_factory=lambda: (Run(at_end=True), Run(at_end=False)))
    separators: dict[str, Inside] = field(default_factory=dict)

    def add(self, cells: Column, flat: Array, sizes: Array) -> None:
        """Record lists of `sizes` [N]: all elements as written, and as ids or numbers."""
        there = sizes > 0
        ends, sizes = np.cumsum(sizes)[there], sizes[there]
        if not len(sizes):
            return
        self.lists += len(sizes)
        self.single += int((sizes == 1).sum())
        for run in self.runs:
            run.add(flat, ends, sizes, cells)
        if is_text(cells.type):
            self._look_into(cells.take(pa.array(ends[sizes == 1] - 1)))

    def _look_into(self, words: Column) -> None:
        """Count separators in elements that are alone in their lists."""
        words = words.drop_null()
        for mark, (pattern, _) in SEPARATORS.items():
            with_it = words.filter(pc.match_substring_regex(words, pattern))
            if not len(with_it):
                continue
            counts = pc.count_substring(with_it, mark)
            least, most = (value.as_py() for value in pc.min_max(counts).values())
            about = self.separators.setdefault(mark, Inside(0, least, most, with_it[0].as_py()))
            about.lists += len(with_it)
            about.least, about.most = min(about.least, least), max(about.most, most)

    @property
    def separator(self) -> str:
        """A likely separator at which the lists are not split, or ""."""
        if self.single <= SINGLE * self.lists:
            return ""
        marks = [
            mark
            for mark, about in self.separators.items()
            if about.lists > UNSPLIT * self.lists
            and (
                about.most > about.least or about.least >= MIN_SEPARATORS or not SEPARATORS[mark][1]
            )
        ]
        return max(marks, key=lambda mark: self.separators[mark].lists, default="")
