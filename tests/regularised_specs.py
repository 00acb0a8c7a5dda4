"""Random activations for random specs; drawn by a generator of its own, so that all else stays."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

Spec = dict[str, Any]
ACTIVATIONS = ["relu", "swish", "gelu", "tanh", "leaky_relu", "prelu"]


def regularise(rng: random.Random, spec: Spec) -> None:
    """Now and then other activations, and norms in towers."""
    own = random.Random(str(rng.getstate()))
    if own.random() < 0.6:
        draw_activations(own, spec)
    if own.random() < 0.5:
        draw_norms(own, spec)


def draw_activations(rng: random.Random, spec: Spec) -> None:
    """Activations that the spec gives become others; so do defaults of towers and experts."""
    for section in _sections(spec):
        for key in ("activation", "hidden_activation"):
            if "rank" in section:
                continue  # a feature gate, which knows ReLU alone
            if section.get(key) in ACTIVATIONS:
                section[key] = rng.choice(ACTIVATIONS)
    if rng.random() < 0.5:
        spec.setdefault("towers", {}).setdefault("activation", rng.choice(ACTIVATIONS))
    if rng.random() < 0.5:
        experts = spec.setdefault("experts", {})
        experts.setdefault("hidden_activation", rng.choice(ACTIVATIONS))
        experts.setdefault("activation", rng.choice(ACTIVATIONS))


def draw_norms(rng: random.Random, spec: Spec) -> None:
    """Norms in all towers, or in those of some tasks."""
    towers = [spec.setdefault("towers", {})]
    towers += [task["tower"] for task in spec["tasks"].values() if "tower" in task]
    for tower in rng.sample(towers, rng.randint(1, len(towers))):
        tower["norm"] = rng.choice(["batch", "layer", "none"])
        if rng.random() < 0.4:
            tower |= {"norm_eps": rng.choice([1e-3, 0.1]), "norm_momentum": rng.choice([0.3, 0.9])}


def with_dropout(spec: Spec, seed: int) -> Spec:
    """A copy with dropout in some of experts, towers and features; as it is for some seeds."""
    rng = random.Random(seed)
    spec = copy.deepcopy(spec)
    if rng.random() < 0.3:
        return spec
    shares = [0.1, 0.5, 0.8]
    if rng.random() < 0.6:
        spec["feature_dropout"] = rng.choice(shares)
    for feature in spec["features"].values():
        if rng.random() < 0.3:
            feature["dropout"] = rng.choice([0, *shares])
    towers = [spec.setdefault("towers", {})]
    towers += [task["tower"] for task in spec["tasks"].values() if task and "tower" in task]
    experts = [spec.setdefault("experts", {})]
    experts += [s for s in _sections(experts[0]) if "count" in s or "width" in s]
    for section in [*towers, *experts]:
        if rng.random() < 0.4:
            section["dropout"] = rng.choice([0, *shares])
    return spec


def _sections(spec: Any) -> Iterator[Spec]:
    """All mappings of a spec."""
    below = spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else ()
    if isinstance(spec, dict):
        yield spec
    for each in below:
        yield from _sections(each)
