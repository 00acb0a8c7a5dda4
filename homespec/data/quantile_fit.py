"""Data: fits the boundaries of numbers that a spec leaves to its data, in bounded memory. No torch.

Up to `MAX_NUMBERS` numbers of a feature are kept. If there are no more, the quantiles are exact.
Otherwise they are those of a seeded uniform sample (Vitter's algorithm R), whose ranks have an
error of at most 0.05 % of the rows (one standard deviation).
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from homespec.data import DataError
from homespec.data.columns import Array
from homespec.data.plan import Plan
from homespec.schema.fitted_columns import (
    FittedColumn,
    fitted_columns,
    scaled_columns,
    word_columns,
)
from homespec.schema.input_tensors import input_tensors

if TYPE_CHECKING:
    from homespec.schema.models import Spec

MAX_NUMBERS = 1_000_000
"""Maximum number of values kept for a feature, 8 MB of memory."""

Columns: TypeAlias = Mapping[str, Array]
"""Tensors by name -> numbers [N] or, of events, [N, length], NaN where missing; for events also the
first field of their sequence, numbers or ids, -1 where missing."""


class QuantileFit:
    """Samples the numbers of each tensor that has quantiles."""

    def __init__(self, spec: Spec, cap: int = MAX_NUMBERS, seed: int = 0) -> None:
        """`cap` numbers of each tensor are kept; the seed matters only if there are more."""
        self.asked = fitted_columns(spec)
        self.rows = 0
        self.samples = {name: Reservoir(name, cap, seed) for name in self.asked}

    def leave_out(self, names: Collection[str]) -> None:
        """Do not fit boundaries of these tensors."""
        for name in names:
            del self.asked[name], self.samples[name]

    def add(self, columns: Columns, unusable: Collection[str] = ()) -> None:
        """Add rows; boundaries that need an `unusable` tensor are dropped for good.

        Raises DataError if the column of another one is missing.
        """
        rows = 0
        for name in tuple(self.samples):
            fit = self.asked[name]
            if any(tensor in unusable for tensor in _needed(name, fit)):
                del self.samples[name]
                continue
            self.samples[name].add(_numbers(columns, name, fit))
            rows = max(rows, len(columns[name]))
        self.rows += rows


def fit_plan(spec: Spec) -> Plan:
    """The tensors that are read to fit values of a spec.

    These are tensors with quantiles, tensors that determine which events exist, scaled numbers, and
    ids with a fitted vocabulary.
    """
    needed = {tensor for name, fit in fitted_columns(spec).items() for tensor in _needed(name, fit)}
    needed |= scaled_columns(spec).keys() | word_columns(spec).keys()
    return Plan(tuple(t for t in input_tensors(spec) if t.name in needed), {}, frozenset())


def _needed(name: str, fit: FittedColumn) -> tuple[str, ...]:
    return (name,) if fit.first in ("", name) else (name, fit.first)


def _numbers(columns: Columns, name: str, fit: FittedColumn) -> Array:
    """The numbers of a column as one array; for events, only existing ones."""
    for tensor in _needed(name, fit):
        if tensor not in columns:
            raise DataError(
                f"the column of the feature `{tensor}`, which must be fitted, is missing"
            )
    if not fit.first:
        return columns[name]
    first = columns[fit.first]
    return columns[name][~np.isnan(first) if first.dtype.kind == "f" else first != -1]


def quantile_boundaries(numbers: Array, quantiles: int) -> tuple[float, ...]:
    """Boundaries of buckets with about the same number of the numbers [N], N > 0.

    They are distinct if there are at least as many distinct numbers as quantiles; otherwise the
    last one is repeated.
    """
    ordered = np.sort(numbers)
    at = distinct_ranks(ordered, np.arange(1, quantiles) * len(ordered) // quantiles)
    return tuple(as_float64(ordered[at]))


def distinct_ranks(ordered: Array, wanted: Array) -> Array:
    """Ranks of ascending numbers [N] at which distinct numbers begin, as many as `wanted`.

    They include those of the numbers at the `wanted` ranks, except for the smallest number, below
    which there is nothing. The others split buckets, each where it separates the most pairs of
    rows. If there are too few distinct numbers, the last rank is repeated.
    """
    starts = np.unique(np.searchsorted(ordered, ordered[wanted]))
    ranks: list[int] = [int(start) for start in starts if start > 0]
    if len(ranks) < len(wanted):
        ranks = sorted([*ranks, *_more_cuts(ordered, ranks, len(wanted) - len(ranks))])
    last = ranks[-1] if ranks else 0
    return np.array([*ranks, *[last] * (len(wanted) - len(ranks))], np.int64)


def _more_cuts(ordered: Array, ranks: list[int], count: int) -> list[int]:
    """Up to `count` more ranks, each in the bucket where a cut separates the most pairs of rows."""
    ends = [0, *ranks, len(ordered)]
    waiting = [cut for low, high in pairwise(ends) if (cut := _cut(ordered, low, high))]
    heapq.heapify(waiting)
    found: list[int] = []
    while waiting and len(found) < count:
        _, low, rank, high = heapq.heappop(waiting)
        found.append(rank)
        for part in (_cut(ordered, low, rank), _cut(ordered, rank, high)):
            if part:
                heapq.heappush(waiting, part)
    return found


def _cut(ordered: Array, low: int, high: int) -> tuple[int, int, int, int] | None:
    """The cut of a bucket of ranks closest to its middle; None if all numbers are equal.

    It is (minus the number of pairs that it separates, low, rank, high).
    """
    if ordered[low] == ordered[high - 1]:
        return None
    middle = ordered[(low + high) // 2]
    before, after = (int(np.searchsorted(ordered, middle, side)) for side in ("left", "right"))
    pairs = [(-(rank - low) * (high - rank), low, rank, high) for rank in (before, after)]
    return min(pair for pair in pairs if low < pair[2] < high)


def as_float64(numbers: Array) -> list[float]:
    """Numbers of a column as boundaries.

    A float32 number becomes the shortest decimal that rounds to it in float32: 0.35, not
    0.3499999940395355. float64 numbers of the same column then have the same buckets.
    """
    return [float(str(number)) for number in numbers]


class Reservoir:
    """A uniform sample of up to `cap` of the finite numbers that were added."""

    def __init__(self, name: str, cap: int, seed: int) -> None:
        """The sample depends only on the seed and the feature's name."""
        self.cap, self.seen = cap, 0
        self._kept = np.empty(0, np.float32)  # until a number has another type
        self._parts: list[Array] = []
        self._random = np.random.default_rng([seed, zlib.crc32(name.encode())])

    def add(self, numbers: Array) -> None:
        """Add numbers [N]; numbers that are not finite are skipped."""
        numbers = np.asarray(numbers).ravel()
        numbers = numbers if numbers.dtype == np.float32 else numbers.astype(np.float64)
        numbers = numbers[np.isfinite(numbers)]
        room = max(0, self.cap - self.seen)
        if room:
            self._parts.append(numbers[:room])
        later = numbers[room:]
        self.seen += min(room, len(numbers))
        if len(later):
            self._replace(later)

    def _replace(self, later: Array) -> None:
        """Number i, from 0, replaces one of those kept with probability cap / (i + 1)."""
        kept = self._kept = self.numbers.astype(np.result_type(self.numbers, later), copy=False)
        counts = self.seen + 1 + np.arange(len(later))
        places = (self._random.random(len(later)) * counts).astype(np.int64)
        taken = places < self.cap
        kept[places[taken]] = later[taken]  # for equal places, the last one counts
        self.seen += len(later)

    @property
    def numbers(self) -> Array:
        """The sample, in no particular order."""
        if self._parts:
            self._kept = np.concatenate([self._kept, *self._parts])
            self._parts = []
        return self._kept
