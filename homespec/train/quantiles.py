"""Training: boundaries of bucketised numbers, fitted to data once and saved in a file. No torch.

The rows are read once, batch by batch, as described in `homespec.data.quantile_fit`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from homespec.data import DataError
from homespec.data.quantile_fit import (
    MAX_NUMBERS,
    Columns,
    QuantileFit,
    quantile_boundaries,
)
from homespec.schema.fitted_columns import BOUNDARIES, fitted_columns
from homespec.schema.models import Spec
from homespec.train.fitted_file import Asked, CarriedEntry, Entry, FittedFile, Words

FILE = "boundaries.json"


@dataclass(frozen=True)
class Fitted(CarriedEntry):
    """The boundaries of a feature, and the data to which they were fitted."""

    column: str
    quantiles: int
    """Number of buckets."""
    known: int
    """Number of rows, or events, with a finite number; infinite ones are left out like missing
    ones. 0 for boundaries from another run."""
    boundaries: tuple[float, ...]
    """`quantiles` - 1 ascending numbers of the data, as float64.

    If there are fewer distinct ones, the last is repeated, and the buckets between stay empty.
    """

    @property
    def distinct(self) -> int:
        """Number of distinct boundaries."""
        return len(set(self.boundaries))

    @property
    def asked(self) -> Asked:
        """The column and the number of quantiles."""
        return self.column, self.quantiles

    @property
    def numbers(self) -> tuple[float, ...]:
        """The boundaries."""
        return self.boundaries

    @classmethod
    def read(cls, name: str, entry: dict[str, Any]) -> Self:
        """An entry of a file. Raises KeyError, TypeError and ValueError."""
        numbers = [float(number) for number in entry["boundaries"]]
        if len(numbers) != int(entry["quantiles"]) - 1:
            raise ValueError(f"{name} has {len(numbers)} boundaries")
        if not np.isfinite(numbers).all() or (np.diff(numbers) < 0).any():
            raise ValueError(f"the boundaries of {name} do not ascend")
        return cls(str(entry["column"]), len(numbers) + 1, int(entry["known"]), tuple(numbers))

    @classmethod
    def carried(cls, asked: Asked, numbers: tuple[float, ...]) -> Self:
        """Boundaries of another run, for which no rows were counted."""
        column, quantiles = asked
        return cls(column, int(quantiles), 0, numbers)


@dataclass(frozen=True)
class Boundaries(FittedFile[Fitted]):
    """The fitted features of a spec by name, and the number of rows that were read.

    Its `values` are boundaries by feature, as `set_boundaries` of a generated file takes them.
    """

    FILE: ClassVar[str] = FILE
    TENSOR: ClassVar[str] = BOUNDARIES
    ENTRY: ClassVar[type[Entry]] = Fitted
    WORDS: ClassVar[Words] = Words(
        "boundaries", "boundaries", "other boundaries", "boundaries of {} are",
        "{} quantiles there and {}", "fit",
    )  # fmt: skip

    @staticmethod
    def wanted(spec: Spec) -> dict[str, Asked]:
        """The columns and numbers of quantiles that a spec asks for, by feature."""
        return {name: (own.column, own.quantiles) for name, own in fitted_columns(spec).items()}


def fit(
    batches: Iterable[Columns], spec: Spec, *, cap: int = MAX_NUMBERS, seed: int = 0
) -> Boundaries:
    """Boundaries of all features of a spec that ask for quantiles, from batches of columns.

    Boundary k of n is the number at rank floor(k rows / n): all buckets, which include their lower
    boundaries, have the same number of rows. If many rows have the same number, boundaries that
    would be equal split other buckets instead (`distinct_ranks`). In a field of events [N, length],
    each existing event counts, which the sequence's first field determines. The division of rows
    into batches makes no difference. Raises DataError for a feature without any number.
    """
    sample = QuantileFit(spec, cap, seed)
    for columns in batches:
        sample.add(columns)
    return fitted(sample)


def fitted(sample: QuantileFit) -> Boundaries:
    """Boundaries for the added rows. Raises DataError for a feature without any number."""
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
