"""Data: how many distinct ids share a row of a hashed table. Needs only numpy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from homespec.data.columns import Array

FEW = 0.1
"""Largest share of ids that share a row, for which a number of buckets is proposed."""
DOUBLINGS = 10
"""Number of times that the rows of a table are doubled in search of a proposal."""


@dataclass(frozen=True)
class Collisions:
    """How distinct ids fill the rows of a table of hashed ids."""

    ids: int
    buckets: int
    rows: int
    """Rows that are used by an id, except the row for missing ids."""
    sharing: int
    """Ids that share their row with another id."""

    @property
    def expected(self) -> float:
        """Expected number of used rows if each id falls into a row with equal probability."""
        if self.buckets == 1:
            return 1.0
        return -self.buckets * math.expm1(self.ids * math.log1p(-1 / self.buckets))


def collisions(ids: Array, buckets: int) -> Collisions:
    """How distinct ids [N] share rows in generated code, which computes id mod buckets."""
    _, counts = np.unique(ids % buckets, return_counts=True)
    return Collisions(len(ids), buckets, len(counts), int(counts[counts > 1].sum()))


@dataclass(frozen=True)
class HashedTable:
    """The distinct ids that are looked up in one table of hashed ids."""

    ids: Array
    """int64 [N], ascending."""
    now: Collisions

    @classmethod
    def of(cls, parts: list[Array], buckets: int) -> HashedTable:
        """The table of the ids of one or more columns."""
        ids = np.unique(np.concatenate(parts))
        return cls(ids, collisions(ids, buckets))

    def roomier(self) -> Collisions | None:
        """More buckets, doubled until few ids share a row; None if doubling does not help."""
        for power in range(1, DOUBLINGS + 1):
            other = collisions(self.ids, self.now.buckets * 2**power)
            if other.sharing <= FEW * other.ids:
                return other
        return None

    def unpatterned(self) -> Collisions | None:
        """The first larger prime number of buckets that spreads the ids as well as chance would."""
        for number in _primes(self.now.buckets):
            other = collisions(self.ids, number)
            if other.rows >= (1 - FEW) * other.expected:
                return other
        return None


def _primes(low: int, many: int = 5) -> Iterator[int]:
    number = max(low, 2)
    while many:
        if all(number % divisor for divisor in range(2, math.isqrt(number) + 1)):
            yield number
            many -= 1
        number += 1
