"""Data: the boundaries of numbers that a spec leaves to its data, in bounded memory. No torch.

Up to `MAX_NUMBERS` numbers of a feature are kept. If there are no more the quantiles are exact;
else they are those of a seeded uniform sample (Vitter's algorithm R), whose ranks are off by 0.05 %
of the rows (one standard deviation, at most).
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from homespec.data import DataError
from homespec.data.columns import Array
from homespec.data.plan import Plan
from homespec.schema.fitted_columns import FittedColumn, fitted_columns
from homespec.schema.input_tensors import input_tensors

if TYPE_CHECKING:
    from homespec.schema.models import Spec

MAX_NUMBERS = 1_000_000
"""Kept of a feature, 8 MB of memory."""

Columns: TypeAlias = Mapping[str, Array]
"""Tensors by name -> numbers [N] or, of events, [N, length], NaN where missing; for events also the
first field of their sequence, numbers or ids, -1 where missing."""


class QuantileFit:
    """Takes in rows, and keeps a sample of the numbers of each tensor that has quantiles."""

    def __init__(self, spec: Spec, cap: int = MAX_NUMBERS, seed: int = 0) -> None:
        """`cap` numbers of each tensor are kept; the seed matters only where there are more."""
        self.asked = fitted_columns(spec)
        self.rows = 0
        self.samples = {name: Reservoir(name, cap, seed) for name in self.asked}

    def add(self, columns: Columns, unusable: Collection[str] = ()) -> None:
        """Take in rows; what needs an `unusable` tensor is dropped for good.

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
    """What is read to fit a spec: tensors with quantiles, and those that say which events are."""
    needed = {tensor for name, fit in fitted_columns(spec).items() for tensor in _needed(name, fit)}
    return Plan(tuple(t for t in input_tensors(spec) if t.name in needed), {}, frozenset())


def _needed(name: str, fit: FittedColumn) -> tuple[str, ...]:
    return (name, fit.first) if fit.first else (name,)


def _numbers(columns: Columns, name: str, fit: FittedColumn) -> Array:
    """The numbers of a column, one after the other; of events only those that are there."""
    for tensor in _needed(name, fit):
        if tensor not in columns:
            raise DataError(f"there is no column of the feature `{tensor}`, which is to be fitted")
    if not fit.first:
        return columns[name]
    first = columns[fit.first]
    return columns[name][~np.isnan(first) if first.dtype.kind == "f" else first != -1]


def quantile_boundaries(numbers: Array, quantiles: int) -> tuple[float, ...]:
    """The boundaries of buckets of about equally many of the numbers [N], N > 0."""
    at = np.arange(1, quantiles) * len(numbers) // quantiles
    return tuple(as_float64(np.sort(numbers)[at]))


def as_float64(numbers: Array) -> list[float]:
    """Numbers of a column as boundaries.

    A float32 number becomes the shortest decimal that is this number in float32: 0.35, not
    0.3499999940395355. float64 numbers of the same column then have the same buckets.
    """
    return [float(str(number)) for number in numbers]


class Reservoir:
    """Up to `cap` of the finite numbers that were added, each with the same probability."""

    def __init__(self, name: str, cap: int, seed: int) -> None:
        """The draws depend on the seed and the feature's name alone."""
        self.cap, self.seen = cap, 0
        self._kept = np.empty(0, np.float32)  # until a number is of another type
        self._parts: list[Array] = []
        self._random = np.random.default_rng([seed, zlib.crc32(name.encode())])

    def add(self, numbers: Array) -> None:
        """Take numbers [N] in; what is not finite is left out."""
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
        """Number i, from 0, takes the place of one of those kept with probability cap / (i + 1)."""
        kept = self._kept = self.numbers.astype(np.result_type(self.numbers, later), copy=False)
        counts = self.seen + 1 + np.arange(len(later))
        places = (self._random.random(len(later)) * counts).astype(np.int64)
        taken = places < self.cap
        kept[places[taken]] = later[taken]  # of equal places the last one counts
        self.seen += len(later)

    @property
    def numbers(self) -> Array:
        """What is kept, in no order."""
        if self._parts:
            self._kept = np.concatenate([self._kept, *self._parts])
            self._parts = []
        return self._kept
