"""Training: boundaries of bucketised numbers, fitted to data once and frozen in a file. No torch.

The rows are read once, a batch after the other, as `homespec.data.quantile_fit` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homespec.atomic_write import write_texts
from homespec.data import DataError
from homespec.data.quantile_fit import (
    MAX_NUMBERS,
    Columns,
    QuantileFit,
    quantile_boundaries,
)
from homespec.schema.fitted_columns import fitted_columns
from homespec.schema.models import Spec
from homespec.train import RunError

FILE = "boundaries.json"
VERSION = 1


@dataclass(frozen=True)
class Fitted:
    """The boundaries of a feature and what they were fitted to."""

    column: str
    quantiles: int
    """Number of buckets."""
    known: int
    """Rows, or events, with a finite number; infinite ones are left out as missing ones are. 0 for
    boundaries that are those of another run."""
    boundaries: tuple[float, ...]
    """Ascending, `quantiles` - 1 numbers of the data, as float64. Where there are fewer different
    ones the last is repeated, and the buckets between stay empty."""

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
        fitted_for = {name: (f.column, f.quantiles) for name, f in self.features.items()}
        wanted = {name: (fit.column, fit.quantiles) for name, fit in fitted_columns(spec).items()}
        for difference in _differences(fitted_for, wanted):
            raise DataError(
                f"{where} was fitted for another spec: {difference}. Use the spec that it was"
                " fitted for, or start another run, which fits its own"
            )

    def write(self, path: Path) -> None:
        """Write them as JSON, whole or not at all. Raises RunError where that fails."""
        about = {"version": VERSION, **asdict(self)}
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
            " which fits its own boundaries"
        ) from None


def _read(name: str, entry: dict[str, Any]) -> Fitted:
    numbers = [float(number) for number in entry["boundaries"]]
    if len(numbers) != int(entry["quantiles"]) - 1:
        raise ValueError(f"{name} has {len(numbers)} boundaries")
    if not np.isfinite(numbers).all() or (np.diff(numbers) < 0).any():
        raise ValueError(f"the boundaries of {name} do not ascend")
    return Fitted(str(entry["column"]), len(numbers) + 1, int(entry["known"]), tuple(numbers))


def _differences(
    fitted_for: dict[str, tuple[str, int]], wanted: dict[str, tuple[str, int]]
) -> Iterable[str]:
    for name, (column, quantiles) in wanted.items():
        if name not in fitted_for:
            yield f"it has no boundaries of `{name}`"
        elif fitted_for[name][1] != quantiles:
            yield f"`{name}` has {fitted_for[name][1]} quantiles there and {quantiles} in the spec"
        elif fitted_for[name][0] != column:
            yield f"`{name}` is the column `{fitted_for[name][0]}` there, `{column}` in the spec"
    for name in fitted_for:
        if name not in wanted:
            yield f"it has boundaries of `{name}`, which the spec does not fit"


def fit(
    batches: Iterable[Columns], spec: Spec, *, cap: int = MAX_NUMBERS, seed: int = 0
) -> Boundaries:
    """Boundaries of all features of a spec that ask for quantiles, from batches of columns.

    Boundary k of n is the number at rank floor(k rows / n): each bucket, which includes its lower
    boundary, has as many rows as the next. Where many rows hold one number, the boundaries that
    would be equal cut other buckets (`distinct_ranks`). A field of events [N, length] counts each
    event that is there, which its sequence's first field says. How the rows are cut into batches
    makes no difference. Raises DataError for a feature without any number.
    """
    sample = QuantileFit(spec, cap, seed)
    for columns in batches:
        sample.add(columns)
    return fitted(sample)


def fitted(sample: QuantileFit) -> Boundaries:
    """Boundaries of what was added. Raises DataError for a feature without any number."""
    features = {}
    for name, (column, quantiles, _) in sample.asked.items():
        numbers, known = sample.samples[name].numbers, sample.samples[name].seen
        if not known:
            raise DataError(
                f"feature `{name}`: the column `{column}` holds no number in {sample.rows:,} rows,"
                f" so {quantiles} quantiles cannot be fitted; give boundaries, or remove it"
            )
        boundaries = quantile_boundaries(numbers, quantiles)
        features[name] = Fitted(column, quantiles, known, boundaries)
    return Boundaries(sample.rows, features)
