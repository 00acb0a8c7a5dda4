"""Data: how numbers are scaled, fitted to rows in bounded memory. No torch.

Numbers are taken in blocks of a fixed size, whatever batches they come in, so that the result is
the same to the last bit from memory, from files and in each process.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from homespec.data import DataError
from homespec.data.columns import Array
from homespec.schema.fitted_columns import ScaledColumn, scaled_columns

if TYPE_CHECKING:
    from homespec.schema.models import Spec

BLOCK = 65_536
"""Numbers that are added up together."""

SMALLEST = 1e-100
"""Squares of smaller differences are 0 in float64."""

Columns: TypeAlias = Mapping[str, Array]
"""Tensors by name -> numbers [N], NaN where missing."""


class Moments:
    """Count, range, mean and squared deviations of the finite numbers that were added, in float64.

    Blocks are put together by the formula of Chan, Golub and LeVeque (1979), which loses no digits
    where the mean is large beside the deviation, as with times.
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._waiting: list[Array] = []

    def add(self, numbers: Array) -> None:
        """Take numbers [N] in; numbers that are not finite are skipped."""
        numbers = np.asarray(numbers, np.float64).ravel()
        numbers = numbers[np.isfinite(numbers)]
        if not len(numbers):
            return
        self.low = min(self.low, float(numbers.min()))
        self.high = max(self.high, float(numbers.max()))
        self._waiting.append(numbers)
        if sum(map(len, self._waiting)) >= BLOCK:
            whole = np.concatenate(self._waiting)
            end = len(whole) - len(whole) % BLOCK
            for start in range(0, end, BLOCK):
                self._merge(*_moments(whole[start : start + BLOCK]))
            self._waiting = [whole[end:]]

    def _merge(self, count: int, mean: float, squares: float) -> None:
        self._count, self._mean, self._squares = _merged(
            (self._count, self._mean, self._squares), (count, mean, squares)
        )

    @property
    def count(self) -> int:
        """How many numbers were added."""
        return self._count + sum(map(len, self._waiting))

    @property
    def mean_and_deviation(self) -> tuple[float, float]:
        """The mean and the standard deviation of all numbers (divided by their count, not less)."""
        rest = np.concatenate([np.empty(0), *self._waiting])
        count, mean, squares = self._count, self._mean, self._squares
        if len(rest):
            count, mean, squares = _merged((count, mean, squares), _moments(rest))
        return mean, math.sqrt(squares / count)


def _moments(numbers: Array) -> tuple[int, float, float]:
    """Count, mean and squared deviations of numbers [N], N > 0."""
    mean = float(numbers.mean())
    return len(numbers), mean, float(((numbers - mean) ** 2).sum())


def _merged(
    one: tuple[int, float, float], other: tuple[int, float, float]
) -> tuple[int, float, float]:
    (n, mean, squares), (m, other_mean, other_squares) = one, other
    shift = other_mean - mean
    total = n + m
    return total, mean + shift * m / total, squares + other_squares + shift**2 * n * m / total


def log_of(numbers: Array) -> Array:
    """sign(x) log(1 + |x|), as generated files compute it."""
    wide = np.asarray(numbers, np.float64)
    return np.asarray(np.sign(wide) * np.log1p(np.abs(wide)))


@dataclass(frozen=True)
class ScalePreview:
    """How training would scale a number."""

    scale: str
    problem: str = ""
    """Why it cannot be scaled."""
    farthest: float = 0.0
    """The number that is farthest from the mean, and by how many deviations. With `log`, both are
    of logarithms."""
    deviations: float = 0.0


class ScaleFit:
    """Takes in rows, and fits the scaling of each number of a spec that has one."""

    def __init__(self, spec: Spec) -> None:
        self.asked = scaled_columns(spec)
        self.rows = 0
        self.moments = {name: Moments() for name in self.asked}

    def leave_out(self, names: Collection[str]) -> None:
        """Ask for no scaling of these features."""
        for name in names:
            del self.asked[name], self.moments[name]

    def add(self, columns: Columns, unusable: Collection[str] = ()) -> None:
        """Take in rows; what is `unusable` is dropped for good. DataError for a missing column."""
        rows = 0
        for name in tuple(self.moments):
            if name in unusable:
                del self.moments[name]
                continue
            if name not in columns:
                raise DataError(
                    f"the column of the feature `{name}`, which must be scaled, is missing"
                )
            numbers = columns[name]
            is_log = self.asked[name].scale == "log"
            self.moments[name].add(log_of(numbers) if is_log else numbers)
            rows = max(rows, len(numbers))
        self.rows += rows

    def scaling(self, name: str) -> tuple[float, float]:
        """Offset and unit of a number. Raises DataError where there are none."""
        asked, moments = self.asked[name], self.moments[name]
        if problem := why_not(asked, moments, self.rows):
            raise DataError(f"feature `{name}`: the column `{asked.column}` {problem}")
        return _offset_and_unit(asked, moments)

    def previews(self) -> dict[str, ScalePreview]:
        """What training would do with each number, of whose column rows were added."""
        return {
            name: _preview(self.asked[name], moments, self.rows)
            for name, moments in self.moments.items()
        }


def _preview(asked: ScaledColumn, moments: Moments, rows: int) -> ScalePreview:
    if problem := why_not(asked, moments, rows):
        return ScalePreview(asked.scale, problem)
    mean, deviation = moments.mean_and_deviation
    farthest = max(moments.low, moments.high, key=lambda number: abs(number - mean))
    return ScalePreview(asked.scale, "", farthest, abs(farthest - mean) / deviation)


def _offset_and_unit(asked: ScaledColumn, moments: Moments) -> tuple[float, float]:
    if asked.scale == "minmax":
        return moments.low, moments.high - moments.low
    return moments.mean_and_deviation


def why_not(asked: ScaledColumn, moments: Moments, rows: int) -> str:
    """Why a column has no scaling; "" if it has one."""
    if not moments.count:
        return f"holds no number in {rows:,} rows, so it cannot be scaled: remove the feature"
    if moments.low == moments.high:
        low = moments.low
        number = math.copysign(math.expm1(abs(low)), low) if asked.scale == "log" else low
        return (
            f"holds the same number, {number:g}, in every row, so it cannot be scaled: remove the"
            " feature, or write `scale: none`"
        )
    if moments.mean_and_deviation[1] < SMALLEST:
        return f"holds numbers that differ by less than {SMALLEST:.0e}: choose another unit"
    return ""
