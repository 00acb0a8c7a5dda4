"""The effect of a change on a model: its tasks, its weights and its costs, before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from homespec.checks.causes import listed
from homespec.diff.carry import Kind
from homespec.diff.compare import Comparison
from homespec.diff.effect import Change, Effect
from homespec.graph.nodes import Placed, Tower

WORDS = {
    Change.SAME: "the same logits",
    Change.NEUTRAL: "the same logits if new parts start neutral",
    Change.CHANGED: "other logits",
    Change.NEW: "new",
}
"""What a task outputs once weights are carried over."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The scope of a change; tasks have their new names."""

    towers: dict[str, Effect]
    removed: tuple[str, ...]
    weights: dict[str, int]
    parameters: tuple[int, int]
    flops: tuple[int, int]


def summarise(comparison: Comparison) -> Summary:
    """Summarise a change."""
    plan, (before, after) = comparison.plan, comparison.costs
    pair = comparison.pair
    weights: dict[str, int] = {kind: len(plan.of(kind)) for kind in KINDS_OF_WEIGHTS}
    return Summary(
        towers=comparison.effects.towers(),
        removed=tuple(
            name for name in pair.old.spec.tasks
            if pair.renames.place(name) not in pair.new.spec.tasks
        ),
        weights=weights | {"dropped": len(plan.dropped)},
        parameters=(before.parameters, after.parameters),
        flops=(before.flops, after.flops),
    )  # fmt: skip


def lines(summary: Summary) -> Iterator[str]:
    """The summary as lines of text."""
    for words, tasks in _by_effect(summary).items():
        yield f"{listed(tasks, 8)}: {words}"
    if summary.removed:
        yield f"{listed(summary.removed, 8)}: gone"
    counts = (f"{n} {kind}" for kind, n in summary.weights.items() if n or kind == "kept")
    yield f"weights: {', '.join(counts)}"
    yield f"parameters: {_before_after(summary.parameters)}"
    yield f"FLOPs for a sample: {_before_after(summary.flops)}"


def as_dict(summary: Summary) -> dict[str, Any]:
    """The summary as JSON."""
    return {
        "tasks": {
            task: {
                "logits": effect.change.name.lower(),
                "through": effect.cause.name if effect.cause else None,
                "reason": effect.reason,
            }
            for task, effect in summary.towers.items()
        },
        "removed": list(summary.removed),
        "weights": summary.weights,
        "parameters": dict(zip(("before", "after"), summary.parameters, strict=True)),
        "flops": dict(zip(("before", "after"), summary.flops, strict=True)),
    }


def _by_effect(summary: Summary) -> dict[str, list[str]]:
    """Tasks by the effect on them, unchanged ones first."""
    found: dict[str, list[str]] = {}
    for task, effect in sorted(summary.towers.items(), key=lambda item: item[1].change):
        found.setdefault(_said(task, effect), []).append(task)
    return found


def _said(task: str, effect: Effect) -> str:
    words = WORDS[effect.change]
    if effect.cause is None or effect.change is Change.NEW:
        return words
    node = effect.cause
    if isinstance(node, Placed) and node.place == task:
        where = f"its {KINDS.get(node.kind, node.kind)} in layer `{node.layer}`"
    elif isinstance(node, Placed):
        where = f"the {KINDS.get(node.kind, node.kind)} of `{node.place}` in layer `{node.layer}`"
    else:
        where = "its tower" if isinstance(node, Tower) else f"`{node.name}`"
    return f"{words}: {where} {effect.reason}"


KINDS_OF_WEIGHTS: tuple[Kind, ...] = ("kept", "reordered", "resized", "new")
KINDS = {
    "feature_gate": "feature gate",
    "self_gate": "self gate",
    "state": "mixture",
}


def _before_after(numbers: tuple[int, int]) -> str:
    before, after = numbers
    if before == after:
        return f"{after:,}, as before"
    return f"{before:,} → {after:,} ({after - before:+,})"
