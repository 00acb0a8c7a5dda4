"""HS71x and HS72x: shared experts that serve one task, and tasks that do not use their own."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, Severity, rule
from homespec.health import remedies
from homespec.health.evidence import Examined, Verdict
from homespec.health.measures import Expert, Gate, Source, Use, short


def owning_use(seen: Examined, expert: Expert) -> Use | None:
    """The gate that has nearly all of the use of an expert that several gates see."""
    most = expert.most_used
    if most is None:
        return None
    serves_fewer = seen.below(seen.owner(most.gate)) < seen.below(expert.owner)
    return most if most.share >= seen.limits.owned and serves_fewer else None


def owned_verdict(seen: Examined, expert: Expert, use: Use) -> Verdict:
    """COSTS if the knock-out costs the owner and not the others."""
    mine = seen.below(seen.owner(use.gate))
    others = seen.below(expert.owner) - mine
    of_mine = seen.verdict("without_expert", expert.name, mine)
    of_others = seen.verdict("without_expert", expert.name, others)
    if of_others is Verdict.FREE and of_mine is Verdict.COSTS:
        return Verdict.COSTS
    settled = of_others is Verdict.COSTS or Verdict.OPEN not in (of_mine, of_others)
    return Verdict.FREE if settled else Verdict.OPEN


@rule("HS711", "owned-shared-expert", Severity.WARNING)
def owned(seen: Examined) -> Iterator[Finding]:
    """An expert that several tasks share serves one of them alone: degradation.

    Nearly all of the weight that gates give it comes from one gate, and only the tasks of this gate
    get worse without it. So the expert is no longer shared. Give its owner experts of its own, so
    that it leaves the shared ones to the others (HOME.md, section 3). Change the share with
    `--threshold owned=0.9`.
    """
    for expert in seen.health.experts:
        use = owning_use(seen, expert)
        if use is None or owned_verdict(seen, expert, use) is not Verdict.COSTS:
            continue
        owner = seen.owner(use.gate)
        others = seen.below(expert.owner) - seen.below(owner)
        yield Finding(
            seen.span(expert.set),
            f"`{owner}` owns the expert {short(expert.name)} of"
            f" `{expert.owner}`: {use.share:.0%} of its use, and without it a loss rises only there"
            f" ({seen.describe('without_expert', expert.name, seen.below(owner))}; the others"
            f" {seen.describe('without_expert', expert.name, others)})",
            "made here",
            help=remedies.own_experts(seen.lowered, expert.layer, owner),
            about=(expert.name,),
        )


def ignored_source(seen: Examined, gate: Gate) -> Source | None:
    """A task's own experts, if they contribute far less than their fair share."""
    own = next((s for s in gate.sources if s.owner == gate.owner), None)
    if gate.role != "task" or own is None or len(gate.sources) < 2:
        return None
    return own if own.contribution_with_self < seen.limits.ignored * own.fair else None


@rule("HS721", "ignored-own-experts", Severity.WARNING)
def ignored(seen: Examined) -> Iterator[Finding]:
    """A task that does not use its own experts: underfitting.

    Their contribution to the task's state, weight times length with the self gate, is below a
    quarter of their fair share, and the task does not get worse without them. This happens to
    sparse tasks: their few positives hardly train their own experts, and the gate learns to rely on
    the shared experts, which denser tasks have trained. Self gates and feature gates give a task's
    own experts a path around the mixture (HOME.md, sections 4 and 5). Change the part of the fair
    share with `--threshold ignored=0.5`.
    """
    for gate in seen.health.gates:
        own = ignored_source(seen, gate)
        if own is None or seen.verdict("without_set", own.set) is not Verdict.FREE:
            continue
        task = seen.tasks[gate.owner]
        yield Finding(
            seen.span(own.set),
            f"`{task.name}` ignores its own experts in layer {gate.layer}: they contribute"
            f" {own.contribution_with_self:.1%} of its state (fair: {own.fair:.0%}, weight alone"
            f" {own.weight:.1%}), and without them {seen.describe('without_set', own.set)};"
            f" {task.positives:,} positives in {task.rows:,} rows",
            "made here",
            help=_remedy(seen, gate, own),
            about=(own.set,),
        )


def _remedy(seen: Examined, gate: Gate, own: Source) -> str:
    """First a self gate, then a feature gate, then a larger weight of the loss."""
    lowered, node = seen.lowered, seen.set_of(own.set)
    for kind, section in (("self_gates", "self"), ("feature_gates", "feature")):
        if f"{kind}.{gate.layer}.{gate.owner}" not in lowered.graph:
            return remedies.gate_option(lowered, node, section, "", "true")
    weight = lowered.spec.tasks[gate.owner].weight
    return remedies.set_options((("tasks", gate.owner, "weight"), f"{2 * weight:g}"))
