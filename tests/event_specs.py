"""Random sequence features, and random events for them.

What would leave a parameter without a gradient by design is not drawn: attention over one event.
"""

from __future__ import annotations

import random
from typing import Any

import torch
from input_specs import field_of, rows_of
from torch import Tensor

Spec = dict[str, Any]


def add_sequences(rng: random.Random, spec: Spec, most: int = 2) -> None:
    """One or several sequences over the embedded features of a spec; there is at least one."""
    fields = [
        name
        for name, feature in spec["features"].items()
        if {"id", "bucketize", "table"} & feature.keys() and "list" not in feature
    ]
    for i in range(rng.randint(1, most)):
        spec["features"][f"past_{i}"] = {"sequence": draw_sequence(rng, spec, fields)}


def draw_sequence(rng: random.Random, spec: Spec, fields: list[str], kind: str = "") -> Spec:
    """Each choice lists its simplest value first."""
    of = rng.sample(fields, min(len(fields), rng.choice([1, 2, 3])))
    length = rng.choice([3, 2, 6])
    sequence: Spec = {"of": of}
    if rng.random() < 0.5:
        own = [{"id": {"vocab": 2}, "dim": 2}, {"bucketize": [0.5], "dim": 3}]
        owners = [name for name in fields if "table" not in spec["features"][name]]
        own += [{"bucketize": {"quantiles": 3}, "dim": 2}, {"table": rng.choice(owners)}]
        sequence["with"] = {"seen": rng.choice(own)}
        if rng.random() < 0.3:
            sequence["with"]["delay"] = {"id": {"buckets": 3}, "dim": 2}
        own_rng = random.Random(str(rng.getstate()))  # leaves what is drawn later as it was
        if own_rng.random() < 0.4:
            sequence["with"]["content"] = {"dense": own_rng.choice([1, 2, 3])}
        if rng.random() < 0.3:
            sequence["columns"] = {"seen": "was_seen"}
    ids = [name for name in of if "id" in field_of(spec, name)]
    kind = kind or rng.choice(["mean", "din", "dien", "sim", "twin"])
    return {**sequence, "max_len": length, "encoder": draw_encoder(rng, kind, ids, length)}


def draw_encoder(rng: random.Random, kind: str, ids: list[str], length: int) -> Any:
    heads = rng.choice([1, 2])
    attention = {
        "top": rng.choice([2, length]),
        "heads": heads,
        "width": heads * rng.choice([2, 3]),
    }
    if kind == "din":
        options = {
            "hidden": rng.choice([[4], [5, 4], []]),
            "activation": rng.choice(["dice", "relu", "swish"]),
            "softmax": rng.choice([False, True]),
            "norm_eps": rng.choice([1e-5, 0.1]),
            "norm_momentum": rng.choice([0.1, 0.9]),
        }
        given = {key: value for key, value in options.items() if rng.random() < 0.6}
        return {"din": given} if given else "din"
    if kind == "dien":
        return rng.choice(["dien", {"dien": {"width": 3}}])
    if kind == "sim" and ids and rng.random() < 0.6:
        return {"sim": {"search": "hard", "by": rng.choice(ids), **attention}}
    return {kind: attention} if kind in ("sim", "twin") else kind


def random_events(
    spec: Spec, features: dict[str, Tensor], batch: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """The tensors of all sequences: rows without events, full ones, gaps, what the candidate has.

    Behind events that are not there the other fields hold anything: nobody may look.
    """
    found = {}
    for name, feature in spec["features"].items():
        if "sequence" not in feature:
            continue
        sequence = feature["sequence"]
        shape = (batch, sequence["max_len"])
        counts = torch.randint(0, shape[1] + 1, (batch, 1), generator=generator)
        there = torch.arange(shape[1]) < counts
        there &= torch.rand(shape, generator=generator) > 0.1
        like = torch.rand(shape, generator=generator) < 0.4
        for i, field in enumerate([*sequence["of"], *sequence.get("with", {})]):
            shared = field in sequence["of"]
            options = field_of(spec, field) if shared else sequence["with"][field]
            options = field_of(spec, options["table"]) if "table" in options else options
            values = random_values(options, shape, generator)
            if shared:
                values = torch.where(like, features[field].unsqueeze(1), values)
            missing = -1 if "id" in options else torch.nan
            found[f"{name}.{field}"] = values.where(there, missing) if i == 0 else values
    return found


def random_values(options: Spec, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Raw values of an id or a number, some of them missing or unknown."""
    if "id" in options:
        rows = rows_of(options["id"])
        return torch.randint(-2, rows + 3, shape, generator=generator)
    if "dense" in options:
        shape = (*shape, options["dense"])
    values = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return values.masked_fill(torch.rand(shape, generator=generator) < 0.1, torch.nan)
