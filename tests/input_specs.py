"""Random features beside ids, given boundaries and vectors: shared tables, what is fitted.

`hierarchies` draws the others; these are added.
"""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor

Spec = dict[str, Any]
LISTS = [  # each begins with its simplest value
    {"max_len": 3},
    {"max_len": 2, "pool": "sum"},
    {"max_len": 4, "pool": "max"},
    {"max_len": 3, "pool": "sum", "weights": "score"},
    {"max_len": 5, "pool": "mean", "weights": "score"},
]


def field_of(spec: Spec, name: str) -> Spec:
    """What the spec says of a feature's values: its own options, or those of the table's owner."""
    feature: Spec = spec["features"][name]
    return spec["features"][feature["table"]] if "table" in feature else feature


def add_inputs(rng: random.Random, spec: Spec) -> None:
    """One to three features more, anywhere among the others; the first stays the first."""
    features = {name: f for name, f in spec["features"].items() if "cross" not in f}
    for i in range(rng.choice([1, 2, 3])):  # may replace those of an earlier call
        owners = [name for name, f in features.items() if "id" in f or "bucketize" in f]
        kind = rng.choice(["table", "quantiles"])
        features[f"{kind}_more_{i}"] = draw_input(rng, kind, owners)
    own = random.Random(str(rng.getstate()))  # leaves what is drawn later as it was
    for _ in range(own.choice([0, 0, 1, 2])):
        owners = [name for name, f in features.items() if "id" in f or "bucketize" in f]
        features[f"list_{len(features)}"] = draw_list(own, owners)
    first, *names = features
    order = [first, *rng.sample(names, len(names))]
    spec["features"] = {name: features[name] for name in order}
    own = random.Random(str(rng.getstate()))  # leaves what is drawn later as it was
    for i in range(own.choice([0, 1, 2])):
        insert(own, spec, f"number_{i}", draw_number(own))
    ids = [name for name in spec["features"] if is_single_id(spec, name)]
    for i in range(own.choice([0, 1, 2]) if len(ids) > 1 else 0):
        insert(own, spec, f"cross_{i}", draw_cross(own, ids))


def insert(rng: random.Random, spec: Spec, name: str, feature: Spec) -> None:
    """A feature more, anywhere behind the first."""
    items = list(spec["features"].items())
    items.insert(rng.randint(1, len(items)), (name, feature))
    spec["features"] = dict(items)


def is_single_id(spec: Spec, name: str) -> bool:
    """Whether a feature may be one of a cross."""
    return "list" not in spec["features"][name] and "id" in field_of(spec, name)


def draw_cross(rng: random.Random, ids: list[str]) -> Spec:
    """Each choice lists its simplest value first."""
    of = rng.sample(ids, 2)
    return {"cross": {"of": of, "buckets": rng.choice([3, 7, 50])}, "dim": rng.choice([2, 3])}


def draw_number(rng: random.Random) -> Spec:
    """Each choice lists its simplest value first."""
    column = {"column": "other_column"} if rng.random() < 0.2 else {}
    scale = rng.choice([{}, {"scale": "none"}, {"scale": "log"}, {"scale": "minmax"}])
    return {"number": scale, **column}


def draw_input(rng: random.Random, kind: str, owners: list[str]) -> Spec:
    """Each choice lists its simplest value first."""
    if kind == "table":
        column = {"column": "other_column"} if rng.random() < 0.5 else {}
        return {"table": rng.choice(owners), **column}
    return {"bucketize": {"quantiles": rng.choice([3, 2, 5])}, "dim": rng.choice([2, 3])}


def draw_list(rng: random.Random, owners: list[str]) -> Spec:
    """A list of ids or numbers, in a table of its own or in another one's."""
    own = [{"id": {"vocab": 4}, "dim": 2}, {"id": {"buckets": 3}, "dim": 4}]
    own += [{"bucketize": {"quantiles": 3}, "dim": 3}, {"table": rng.choice(owners)}]
    return {**rng.choice(own), "list": rng.choice(LISTS)}


def fit_vocabularies(rng: random.Random, spec: Spec) -> None:
    """Now and then a vocabulary that is fitted to data in place of a number of ids."""
    own = random.Random(str(rng.getstate()))  # leaves what is drawn later as it was
    if own.random() < 0.7:
        return
    fields = [f["sequence"].get("with", {}) for f in spec["features"].values() if "sequence" in f]
    for values in [spec["features"], *fields]:
        for value in values.values():
            if "vocab" in value.get("id", ()) and own.random() < 0.6:
                value["id"] = {"vocab": {"min_count": 2, "max_size": value["id"]["vocab"]}}


def rows_of(ids: Spec) -> int:
    """How many rows a table of ids has beside that of what is missing."""
    rows = ids.get("vocab") or ids["buckets"]
    return rows["max_size"] if isinstance(rows, dict) else rows


def random_vocabulary(noise: Tensor) -> Tensor:
    """Ids from -3 on but for -1, some of them negative, and fewer than there are rows for."""
    size = noise.shape[1]
    count = 1 + int(noise[0].abs().sum() * 10) % size
    known = [n for n in range(-3, size) if n != -1][:count]
    rows = noise[1, :count].argsort().argsort() + 1.0
    words = sorted((n % 2**53, n - n % 2**53, float(r)) for n, r in zip(known, rows, strict=True))
    return torch.tensor([*words, *[words[-1]] * (size - count)], dtype=torch.float64).T.contiguous()


def random_lists(
    spec: Spec, name: str, batch: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """The tensors of a list: rows without values, full ones, gaps, weights that are missing."""
    feature = spec["features"][name]
    shape = (batch, feature["list"]["max_len"])
    flat = random_input(field_of(spec, name), batch * shape[1], generator)
    missing = torch.nan if flat.is_floating_point() else -1
    counts = torch.randint(0, shape[1] + 1, (batch, 1), generator=generator)
    there = torch.arange(shape[1]) < counts
    there &= torch.rand(shape, generator=generator) > 0.1
    found = {name: flat.view(shape).where(there, missing)}
    if "weights" in feature["list"]:
        weights = torch.rand(shape, generator=generator, dtype=torch.float64)
        weights[torch.rand(shape, generator=generator) < 0.1] = torch.nan
        weights[batch // 2] = 0.0
        found[f"{name}.weights"] = weights
    return found


def random_input(feature: Spec, batch: int, generator: torch.Generator) -> Tensor:
    """Raw values of a feature: known, unknown and missing ones, and values on a boundary."""
    if "id" in feature:
        rows = rows_of(feature["id"])
        ids = torch.randint(-2, rows + 3, (batch,), generator=generator)
        ids[:2] = torch.tensor([0, -1])[:batch]  # known, missing: not all the same
        return ids
    shape = (batch, feature["dense"]) if "dense" in feature else (batch,)
    values = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    missing = torch.rand(shape, generator=generator) < 0.1
    if "dense" in feature:
        missing[1:2] = True  # a vector that is missing as a whole
    elif isinstance(feature.get("bucketize"), dict):
        values[:4] = torch.tensor([0.0, 0.5, -0.5, 1.0])[:batch]
    elif "bucketize" in feature:
        values[0] = feature["bucketize"][-1]
    return values.masked_fill(missing, torch.nan)


def random_scaling(noise: Tensor) -> Tensor:
    """An offset, and a unit above 0."""
    return torch.stack([noise[0], 0.5 + noise[1].abs()])


def random_boundaries(noise: Tensor) -> Tensor:
    """Ascending multiples of a half, some of them equal."""
    return noise.mul(2).round().sort().values / 2
