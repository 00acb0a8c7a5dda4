"""Training: boundaries of bucketised numbers, fitted to data once and frozen in a file.

The rows are read once, a batch after the other. Of each feature up to `CAP` numbers are kept. If
there are no more the quantiles are exact; else they are those of a seeded uniform sample of `CAP`
(Vitter's algorithm R), whose ranks are off by 0.05 % of the rows (one standard deviation, at most).
No torch.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from homespec.atomic_write import write_texts
from homespec.data import DataError
from homespec.schema.fitted_columns import Asked, asked
from homespec.schema.models import Spec
from homespec.train import RunError

FILE = "boundaries.json"
VERSION = 1
CAP = 1_000_000
"""So many numbers of a feature are kept: 8 MB of memory."""

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]
"""Tensors by name -> numbers [N] or, of events, [N, length], NaN where missing; for events also the
first field of their sequence, numbers or ids, -1 where missing."""


@dataclass(frozen=True)
class Fitted:
    """The boundaries of a feature and what they were fitted to."""

    column: str
    quantiles: int
    """Number of buckets."""
    known: int
    """Rows, or events, with a finite number; infinite ones are left out as missing ones are."""
    boundaries: tuple[float, ...]
    """Ascending, `quantiles` - 1 numbers of the data, as float64. Where many rows have the same
    number, neighbours are equal and the bucket between them stays empty."""

    @property
    def distinct(self) -> int:
        """How many of the boundaries differ."""
        return len(set(self.boundaries))


@dataclass(frozen=True)
class Boundaries:
    """The fitted features of a spec by name, and the number of rows that were read."""

    rows: int
    features: dict[str, Fitted]

    @property
    def values(self) -> dict[str, list[float]]:
        """Boundaries by feature, as `set_boundaries` of a generated file takes them."""
        return {name: list(fitted.boundaries) for name, fitted in self.features.items()}

    def check(self, spec: Spec, where: str) -> None:
        """Raise DataError that says what differs if a spec asks for other boundaries."""
        found = {name: (f.column, f.quantiles) for name, f in self.features.items()}
        wanted = {name: (fit.column, fit.quantiles) for name, fit in asked(spec).items()}
        for difference in _differences(found, wanted):
            raise DataError(
                f"{where} was fitted for another spec: {difference}. Use the spec that it was"
                " fitted for, or start another run, which fits its own"
            )

    def write(self, path: Path) -> None:
        """Write them as JSON, whole or not at all. Raises RunError where that fails."""
        features = {
            name: {
                "column": f.column,
                "quantiles": f.quantiles,
                "known": f.known,
                "boundaries": list(f.boundaries),
            }
            for name, f in self.features.items()
        }
        about = {"version": VERSION, "rows": self.rows, "features": features}
        try:
            write_texts({path: json.dumps(about, indent=1, allow_nan=False) + "\n"})
        except OSError as error:
            raise RunError(f"{path} cannot be written ({error.strerror})") from None


def read(path: Path) -> Boundaries:
    """What `Boundaries.write` wrote. Raises DataError for a file that is missing or broken."""
    try:
        about = json.loads(path.read_text("utf-8"))
        if about["version"] != VERSION:
            raise ValueError(f"version {about['version']}, not {VERSION}")
        features = {name: _read(name, entry) for name, entry in about["features"].items()}
        return Boundaries(int(about["rows"]), features)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise DataError(
            f"{path} cannot be read ({reason}): bring it back from a copy, or start another run,"
            " which fits boundaries anew"
        ) from None


def _read(name: str, entry: dict[str, Any]) -> Fitted:
    numbers = [float(number) for number in entry["boundaries"]]
    if len(numbers) != int(entry["quantiles"]) - 1:
        raise ValueError(f"{name} has {len(numbers)} boundaries")
    if not np.isfinite(numbers).all() or (np.diff(numbers) < 0).any():
        raise ValueError(f"the boundaries of {name} do not ascend")
    return Fitted(str(entry["column"]), len(numbers) + 1, int(entry["known"]), tuple(numbers))


def _differences(
    found: dict[str, tuple[str, int]], wanted: dict[str, tuple[str, int]]
) -> Iterable[str]:
    for name, (column, quantiles) in wanted.items():
        if name not in found:
            yield f"it has no boundaries of `{name}`"
        elif found[name][1] != quantiles:
            yield f"`{name}` has {found[name][1]} quantiles there and {quantiles} in the spec"
        elif found[name][0] != column:
            yield f"`{name}` is the column `{found[name][0]}` there, `{column}` in the spec"
    for name in found:
        if name not in wanted:
            yield f"it has boundaries of `{name}`, which the spec does not fit"


def fit(batches: Iterable[Columns], spec: Spec, *, cap: int = CAP, seed: int = 0) -> Boundaries:
    """Boundaries of all features of a spec that ask for quantiles, from batches of columns.

    Boundary k of n is the number at rank floor(k rows / n): each bucket, which includes its lower
    boundary, has as many rows as the next, ties apart. A field of events [N, length] counts each
    event that is there, which its sequence's first field says. How the rows are cut into batches
    makes no difference. Raises DataError for a feature without any number.
    """
    wanted = asked(spec)
    samples = {name: Sample(name, cap, seed) for name in wanted}
    rows = 0
    for columns in batches:
        for name, fit_ in wanted.items():
            samples[name].add(numbers_of(columns, name, fit_))
        rows += max((len(columns[name]) for name in samples), default=0)
    features = {}
    for name, (column, quantiles, _) in wanted.items():
        numbers, known = samples[name].numbers, samples[name].seen
        if not known:
            raise DataError(
                f"feature `{name}`: the column `{column}` holds no number in {rows:,} rows, so"
                f" {quantiles} quantiles cannot be fitted; give boundaries, or remove the feature"
            )
        features[name] = Fitted(column, quantiles, known, cut(numbers, quantiles))
    return Boundaries(rows, features)


def numbers_of(columns: Columns, name: str, fit_: Asked) -> Array:
    """The numbers of a column, one after the other; of events only those that are there."""
    for each in (name, *([fit_.first] if fit_.first else ())):
        if each not in columns:
            raise DataError(f"there is no column of the feature `{each}`, which is to be fitted")
    if not fit_.first:
        return columns[name]
    first = columns[fit_.first]
    return columns[name][~np.isnan(first) if first.dtype.kind == "f" else first != -1]


def cut(numbers: Array, quantiles: int) -> tuple[float, ...]:
    """The boundaries of so many buckets of about equally many of the numbers [N], N > 0."""
    at = np.arange(1, quantiles) * len(numbers) // quantiles
    return tuple(as_float64(np.sort(numbers)[at]))


def as_float64(numbers: Array) -> list[float]:
    """Numbers of a column as boundaries.

    A float32 number becomes the shortest decimal that is this number in float32: 0.35, not
    0.3499999940395355. float64 numbers of the same column then have the same buckets.
    """
    return [float(str(number)) for number in numbers]


class Sample:
    """Up to `cap` of the finite numbers that were added, each with the same probability."""

    def __init__(self, name: str, cap: int, seed: int) -> None:
        """The draws depend on the seed and the feature's name alone."""
        self.cap, self.seen = cap, 0
        self._kept = np.empty(0, np.float32)  # until a number is of another type
        self._parts: list[Array] = []
        self._random = np.random.default_rng([seed, zlib.crc32(name.encode())])

    def add(self, numbers: Array) -> None:
        """Take numbers [N] in; what is not finite is left out."""
        found = np.asarray(numbers).ravel()
        found = found if found.dtype == np.float32 else found.astype(np.float64)
        found = found[np.isfinite(found)]
        room = max(0, self.cap - self.seen)
        if room:
            self._parts.append(found[:room])
        later = found[room:]
        self.seen += min(room, len(found))
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
