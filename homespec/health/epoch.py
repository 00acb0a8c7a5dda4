"""Health: the measurements of experts and gates that training saves after each epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from homespec.health.compare import own_contribution, own_weight
from homespec.health.measures import Gate, Health, held_out, short
from homespec.json_values import without_nan

Json = dict[str, Any]
OF_EXPERTS = ("zeros", "near_zeros", "dead_channels", "mean_abs", "std")
"""The measurements of each expert that are saved."""


def numbers(health: Health, tasks: Iterable[str]) -> Json:
    """The numbers as JSON with short names; docs/doctor.md has their formulas.

    `tasks` holds the tasks that have experts of their own. `own_weight` and `own_contribution` are
    relative to the fair share, in the layer where they are lowest.
    """
    found = {
        "experts": {
            short(expert.name): {name: getattr(expert, name) for name in OF_EXPERTS}
            for expert in health.experts
        },
        "gates": {short(g.name): _gate(g) for g in health.gates if len(g.experts) > 1},
        "self_gates": {short(g.name): {"weights": list(g.mean)} for g in health.self_gates},
        "feature_gates": {
            short(g.name): {"std": g.std, "saturated": g.saturated} for g in health.feature_gates
        },
        "tasks": {
            task: {"own_weight": weight, "own_contribution": own_contribution(health, task)}
            for task in tasks
            if not math.isnan(weight := own_weight(health, task))
        },
    }
    json: Json = without_nan(found)
    return json


def _gate(gate: Gate) -> Json:
    return {
        "weights": dict(zip(map(short, gate.experts), gate.mean, strict=True)),
        "std": math.sqrt(gate.variance_rows),
        "perplexity": gate.perplexity,
        "mean_perplexity": gate.mean_perplexity,
        "scale_ratio": gate.scale_ratio,
    }


TAGS = {
    "experts": "expert_{measure}/{name}",
    "gates": "gate_{measure}/{name}",
    "self_gates": "self_gate_{measure}/{name}",
    "feature_gates": "feature_gate_{measure}/{name}",
    "tasks": "{measure}/{name}",
}
"""The name of a number in loggers. TensorBoard groups numbers by the part before the slash."""


def scalars(found: Json) -> Iterator[tuple[str, float]]:
    """The known numbers for loggers: `expert_zeros/meta.watch.0`, `own_weight/click`.

    The name of a gate's weight has one more part: `gate_weight/meta.watch/meta.shared.0`.
    """
    for kind, tag in TAGS.items():
        for name, measures in found[kind].items():
            for measure, value in measures.items():
                if measure == "weights":
                    yield from _weights(tag.format(measure="weight", name=name), value)
                elif value is not None:
                    yield tag.format(measure=measure, name=name), value


def _weights(tag: str, weights: dict[str, float | None] | list[float | None]) -> Iterator[Any]:
    parts = weights.items() if isinstance(weights, dict) else enumerate(weights)
    return ((f"{tag}/{part}", weight) for part, weight in parts if weight is not None)


def summary(found: Json, rows: int) -> str:
    """The worst number of each kind and the part that has it, on one line."""
    worst = [
        _extreme(found["experts"], "near_zeros", max, "{:.1%} of outputs near 0 at most"),
        _extreme(found["gates"], "scale_ratio", max, "scales {:.3g} times apart at most"),
        _extreme(found["gates"], "perplexity", min, "evenness of gates {:.2f} at least"),
        _extreme(found["tasks"], "own_contribution", min, "own experts {:.2f} of fair at least"),
    ]
    return f"Experts on {held_out(rows)}: {', '.join(filter(None, worst))}."


def _extreme(parts: Json, measure: str, pick: Any, text: str) -> str:
    """The largest or smallest number of a kind and its owner; "" if there is none."""
    known = {name: own[measure] for name, own in parts.items() if own[measure] is not None}
    if not known:
        return ""
    name = pick(known, key=known.__getitem__)
    return f"{text.format(known[name])} ({name})"
