"""Data: fits the scaling of numbers in bounded memory. No torch.

Numbers are processed in blocks of a fixed size, whatever their batches, so that the result is
bitwise the same from memory, from files and in each process.
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
"""Numbers in a block."""

SMALLEST = 1e-100
"""Squares of smaller differences underflow in float64."""

Columns: TypeAlias = Mapping[str, Array]
"""Tensors by name -> numbers [N], NaN where missing."""


class Moments:
    """Count, range, mean and squared deviations in float64 of the finite numbers that were added.

    Blocks are combined with the formula of Chan, Golub and LeVeque (1979), which is accurate even
    if the mean is much larger than the deviation, as with times.
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._waiting: list[Array] = []

    def add(self, numbers: Array) -> None:
        """Add numbers [N]; numbers that are not finite are skipped."""
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
        """Number of numbers that were added."""
        return self._count + sum(map(len, self._waiting))

    @property
    def mean_and_deviation(self) -> tuple[float, float]:
        """The mean and the standard deviation (with divisor N) of all numbers."""
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
    """The number farthest from the mean, and its distance in standard deviations.

    With `log`, both are computed on logarithms.
    """
    deviations: float = 0.0


class ScaleFit:
    """Fits the scaling of each number of a spec that has one."""

    def __init__(self, spec: Spec) -> None:
        self.asked = scaled_columns(spec)
        self.rows = 0
        self.moments = {name: Moments() for name in self.asked}

    def leave_out(self, names: Collection[str]) -> None:
        """Do not fit the scaling of these features."""
        for name in names:
            del self.asked[name], self.moments[name]

    def add(self, columns: Columns, unusable: Collection[str] = ()) -> None:
        """Add rows; `unusable` features are dropped for good.

        Raises DataError for a missing column.
        """
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
        """Offset and unit of a number. Raises DataError if it cannot be scaled."""
        asked, moments = self.asked[name], self.moments[name]
        if problem := why_not(asked, moments, self.rows):
            raise DataError(f"feature `{name}`: the column `{asked.column}` {problem}")
        return _offset_and_unit(asked, moments)

    def previews(self) -> dict[str, ScalePreview]:
        """How training would scale each number whose column was added."""
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
