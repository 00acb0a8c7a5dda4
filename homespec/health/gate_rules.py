"""HS73x: gates that do not look at their input, or can no longer learn to."""

from __future__ import annotations

import math
from collections.abc import Iterator

from homespec.checks.causes import by_cause, listed
from homespec.diagnostics import Finding, Severity, rule
from homespec.graph import nodes
from homespec.health import remedies
from homespec.health.evidence import Examined, Verdict
from homespec.health.measures import FeatureGate, Gate, short


def is_constant(seen: Examined, gate: Gate) -> bool:
    """Whether the weights hardly vary over the rows, though the gate reads something."""
    node = seen.node(gate.name)
    if isinstance(node, nodes.Gate) and node.is_static:
        return False
    still = math.sqrt(gate.variance_rows) < seen.limits.gate_std
    return len(gate.experts) > 1 and still and seen.has_rows


def is_saturated(seen: Examined, gate: FeatureGate) -> bool:
    """Whether most values are at the ends of their range."""
    return gate.saturated > seen.limits.saturated


def dead_loras(seen: Examined, gate: FeatureGate) -> list[str]:
    """The LoRAs of a gate that do nothing, by name."""
    limit = seen.limits.lora_effect
    return [f"{gate.name}.loras.{x.index}" for x in gate.loras if x.effect * x.weight < limit]


@rule("HS731", "constant-gate", Severity.WARNING)
def constant(seen: Examined) -> Iterator[Finding]:
    """A gate whose weights do not depend on its input.

    The weights vary by less than 0.01 over the rows, and no task gets worse if they are replaced by
    their means. The mixture is a fixed average, although the purpose of a gate is to decide for
    each row. Its input may be nearly constant, or the learning rate too small to move it. A hidden
    layer gives the gate more to decide with. Change the deviation with `--threshold
    gate_std=0.005`.
    """
    found = [
        gate
        for gate in seen.health.gates
        if is_constant(seen, gate) and seen.verdict("constant_gate", gate.name) is Verdict.FREE
    ]
    for gates in by_cause(found, lambda g: seen.span(g.name)).values():
        widest = max(gates, key=lambda g: g.variance_rows)
        has = "has" if len(gates) == 1 else "have"
        yield Finding(
            seen.span(widest.name),
            f"the gate{'' if len(gates) == 1 else 's'} of"
            f" {listed([short(g.name) for g in gates])} {has} the same weights in all rows:"
            f" standard deviation at most {math.sqrt(widest.variance_rows):.4f}, and with their"
            f" means {seen.describe('constant_gate', widest.name)}",
            help=remedies.gate_option(
                seen.lowered, seen.node(widest.name), "mixture", "hidden", "[32]"
            ),
            about=tuple(gate.name for gate in gates),
        )


@rule("HS732", "saturated-feature-gate", Severity.WARNING)
def saturated(seen: Examined) -> Iterator[Finding]:
    """A feature gate whose values are at the ends of their range, without any benefit.

    Most values are near 0 or 2, where the sigmoid has no slope, so training can no longer move
    them. No task gets worse if the values are replaced by their means. The gate is a fixed mask
    that costs time. Switch it off, or train it with a smaller learning rate or weight decay. Change
    the share with `--threshold saturated=0.8`.
    """
    for gate in _saturated(seen, Verdict.FREE):
        yield Finding(
            seen.span(gate.name),
            f"{gate.saturated:.0%} of the values of the feature gate of {short(gate.name)} are"
            f" saturated, and with its mean in all rows"
            f" {seen.describe('constant_feature_gate', gate.name)}",
            help=remedies.gate_option(seen.lowered, seen.node(gate.name), "feature", "", "false"),
            about=(gate.name,),
        )


@rule("HS733", "hard-feature-gate", Severity.NOTE)
def hard(seen: Examined) -> Iterator[Finding]:
    """A feature gate whose values are at the ends of their range, but that some task needs.

    It has become a hard switch that differs from row to row. The model uses it, but training can no
    longer change it, because the sigmoid has no slope there. A smaller learning rate or weight
    decay (`train --weight-decay 1e-5`) keeps the next one softer.
    """
    for gate in _saturated(seen, Verdict.COSTS):
        yield Finding(
            seen.span(gate.name),
            f"{gate.saturated:.0%} of the values of the feature gate of {short(gate.name)} are"
            f" saturated; it is needed: with its mean in all rows"
            f" {seen.describe('constant_feature_gate', gate.name)}",
            about=(gate.name,),
        )


def _saturated(seen: Examined, verdict: Verdict) -> Iterator[FeatureGate]:
    for gate in seen.health.feature_gates:
        found = seen.verdict("constant_feature_gate", gate.name)
        if is_saturated(seen, gate) and found is verdict:
            yield gate


@rule("HS734", "dead-lora", Severity.WARNING)
def dead_lora(seen: Examined) -> Iterator[Finding]:
    """A LoRA of a feature gate that does nothing.

    Its values are 1, or the router gives it no weight, and no task gets worse without it. LoRAs
    start at 1. Either training has not moved this one, or the router decided against it before it
    learned. Use one LoRA fewer, or train longer. Change the effect with `--threshold
    lora_effect=0.01`.
    """
    found = [
        (gate, name)
        for gate in seen.health.feature_gates
        for name in dead_loras(seen, gate)
        if seen.verdict("without_lora", name) is Verdict.FREE
    ]
    for pairs in by_cause(found, lambda pair: seen.span(pair[0].name)).values():
        gate, name = pairs[0]
        does = "does" if len(pairs) == 1 else "do"
        less = len(gate.loras) - 1
        node = seen.node(gate.name)
        yield Finding(
            seen.span(gate.name),
            f"{listed([short(n) for _, n in pairs])} {does} nothing: without the first"
            f" {seen.describe('without_lora', name)}",
            help=remedies.gate_option(seen.lowered, node, "feature", "loras", less)
            if less
            else remedies.gate_option(seen.lowered, node, "feature", "", "false"),
            about=tuple(name for _, name in pairs),
        )
