"""Random specs: gates that read features, that read without a gradient, or that are MLPs."""

from __future__ import annotations

import random
from typing import Any

Spec = dict[str, Any]


def add_readings(rng: random.Random, spec: Spec) -> None:
    """Let a kind of gate read a list, now and then; leaves what is drawn later as it was."""
    own = random.Random(str(rng.getstate()))
    while own.random() < 0.35:
        section = own.choice(list(_sections(spec)))
        kind = own.choice(["mixture", "feature", "self"])
        given = section.get(kind)
        options = dict(given) if isinstance(given, dict) else {}
        features = own.sample(list(spec["features"]), own.randint(1, min(2, len(spec["features"]))))
        options["input"] = own.choice([features, *([*features, w] for w in ("own", "path")), ["v"]])
        if kind == "feature" and own.random() < 0.5:
            options |= {"activation": "relu", "loras": 1, "rank": 3}
        options["detach"] = own.choice([False, True, options["input"][-1:], options["input"][:1]])
        section[kind] = options
    every = _every_section(spec)
    for section in every:
        for kind in ("mixture", "feature", "self"):
            if isinstance(section.get(kind), dict) and "input" in section[kind]:
                section[kind].setdefault("detach", False)  # that of outer sections has other names
    feature = [s["feature"] for s in every if isinstance(s.get("feature"), dict)]
    if any("activation" in options for options in feature):
        for options in feature:
            options["loras"] = 1  # an MLP is one, in all layers that inherit it


def _every_section(spec: Spec) -> list[Spec]:
    meta = spec.get("gates", {}).get("meta")
    return [*_sections(spec), *([meta] if isinstance(meta, dict) else [])]


def _sections(spec: Spec) -> list[Spec]:
    """The sections of gates, of all layers and of one each."""
    gates = spec.setdefault("gates", {})
    found = [gates, *(gates[key] for key in ("task",) if key in gates)]
    if isinstance(gates.get("meta"), list):
        found += gates["meta"]
    layers = spec["layers"] if isinstance(spec.get("layers"), list) else []
    return found + [layer["gates"] for layer in layers if "gates" in layer]
