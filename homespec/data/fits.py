"""Data: the boundaries that training would fit, for `check-data`, in bounded memory. No torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from homespec.data.columns import Array
from homespec.data.plan import Plan
from homespec.schema.fitted_columns import Asked, asked
from homespec.train.quantiles import CAP, Sample, as_float64, cut, numbers_of

if TYPE_CHECKING:
    from homespec.schema.models import Spec

PROPOSED = 8
"""Into so many shares, at most, the numbers are cut that most rows do not hold."""


@dataclass(frozen=True)
class Boundaries:
    """The boundaries of one tensor, and the numbers that they are fitted to."""

    asked: Asked
    numbers: Array
    boundaries: tuple[float, ...]

    @property
    def distinct(self) -> int:
        """How many of them differ."""
        return len(set(self.boundaries))

    @property
    def buckets(self) -> int:
        """How many buckets a number falls into."""
        cuts = np.array(self.boundaries, self.numbers.dtype)  # as generated files compare
        return len(np.unique(np.searchsorted(cuts, self.numbers, side="right")))

    @property
    def most(self) -> tuple[float, float]:
        """The number that most rows hold, and their share."""
        values, counts = np.unique(self.numbers, return_counts=True)
        (most,) = as_float64(values[[counts.argmax()]])
        return most, float(counts.max() / len(self.numbers))

    @property
    def proposed(self) -> list[float]:
        """Boundaries around what most rows hold and evenly in the rest."""
        most, _ = self.most
        rest = self.numbers[self.numbers != most]
        if not len(rest):
            return []
        around = {most, *as_float64(np.unique(rest[rest > most])[:1])}
        even = cut(rest, min(PROPOSED, len(self.boundaries)))
        return sorted({*around, *even} - {*as_float64(self.numbers.min(keepdims=True))})


class Fits:
    """Takes in rows, and gives what `homespec train` would fit to them."""

    def __init__(self, spec: Spec | None, plan: Plan) -> None:
        """Of no spec there is nothing to fit."""
        self._asked = {} if spec is None else asked(spec)
        names = {name for key, fit in self._asked.items() for name in (key, fit.first)}
        tensors = tuple(tensor for tensor in plan.tensors if tensor.name in names)
        self._plan = Plan(tensors, {}, frozenset())
        self._samples = {name: Sample(name, CAP, 0) for name in self._asked}

    def add(self, table: pa.Table, unusable: Collection[str]) -> None:
        """Take in rows; what is `unusable` is left out, and never looked at again."""
        for name, fit in tuple(self._asked.items()):
            needed = (name, fit.first) if fit.first else (name,)
            if any(each in unusable for each in needed):
                del self._asked[name]
                continue
            tensors = tuple(t for t in self._plan.tensors if t.name in needed)
            columns = Plan(tensors, {}, frozenset()).convert(table).features
            self._samples[name].add(numbers_of(columns, name, fit))

    def boundaries(self) -> dict[str, Boundaries]:
        """The boundaries by tensor, of those that have a number."""
        return {
            name: Boundaries(fit, numbers, cut(numbers, fit.quantiles))
            for name, fit in self._asked.items()
            if len(numbers := self._samples[name].numbers)
        }
