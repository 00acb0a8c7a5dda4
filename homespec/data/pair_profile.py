"""Data: the distinct pairs of the ids of a cross. Needs numpy only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from homespec.data.distinct import Distinct

if TYPE_CHECKING:
    from homespec.data.columns import Array
    from homespec.schema.input_tensors import InputTensor
    from homespec.schema.models import Spec


@dataclass
class PairProfile:
    """What the pairs of one cross are."""

    of: tuple[str, ...]
    buckets: int
    sizes: tuple[int, ...]
    """For each id the size of its vocabulary; 0 if any id may occur."""
    distinct: Distinct = field(default_factory=Distinct)

    def add(self, ids: Mapping[str, Array]) -> None:
        """Record ids [N] by feature, if both are present and known."""
        if all(name in ids for name in self.of):
            first, second = (ids[name] for name in self.of)
            there = _known(first, self.sizes[0]) & _known(second, self.sizes[1])
            self.distinct.add(_hashes(first[there], second[there]))

    @property
    def known(self) -> bool:
        """Whether the number of pairs is known."""
        return not self.distinct.full and len(self.distinct) > 0

    def sharing(self, buckets: int) -> float:
        """The expected share of the pairs that share a row with another pair.

        A pair is alone in its row if none of the n - 1 others falls into the same of m rows, which
        has the probability (1 - 1/m)^(n - 1).
        """
        return sharing(len(self.distinct), buckets)


def sharing(pairs: int, buckets: int) -> float:
    """The expected share of pairs that share a row with another pair."""
    if buckets == 1:
        return float(pairs > 1)
    return -math.expm1((pairs - 1) * math.log1p(-1 / buckets))


def pair_profiles(spec: Spec, tensors: tuple[InputTensor, ...]) -> dict[str, PairProfile]:
    """The crosses of a spec, by name, with no pairs yet."""
    sizes = {tensor.name: tensor.vocab for tensor in tensors}
    return {
        name: PairProfile(
            feature.cross.of, feature.cross.buckets, tuple(sizes[n] for n in feature.cross.of)
        )
        for name, feature in spec.features.items()
        if feature.kind == "cross"
    }


def _known(ids: Array, size: int) -> Array:
    there: Array = (ids >= 0) & (ids < size) if size else ids != -1
    return there


def _hashes(first: Array, second: Array) -> Array:
    """A number of 64 bits for each pair, which no two pairs are likely to share."""
    mixed = first.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    mixed = (mixed + second.astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(29)
    return mixed.view(np.int64)
