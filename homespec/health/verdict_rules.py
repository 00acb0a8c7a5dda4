"""HS74x: findings without a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from homespec.diagnostics import Finding, Severity, rule
from homespec.health.evidence import Examined, Verdict
from homespec.health.expert_rules import (
    has_collapsed,
    is_near_zero,
    is_similar,
    small_experts,
)
from homespec.health.gate_rules import dead_loras, is_constant, is_saturated
from homespec.health.measures import Kind, short
from homespec.health.sharing_rules import ignored_source, owned_verdict, owning_use


@rule("HS741", "too-few-positives", Severity.NOTE)
def too_few(seen: Examined) -> Iterator[Finding]:
    """A task with too few positives for a verdict.

    The rows that knock-outs are measured on contain fewer than 50 positives, or negatives, of the
    task, so the interval of a mean over them says little. The task counts in no verdict. Use more
    rows (`--rows`, `--sample-rows`) or more days. Change the number with `--threshold
    positives=30`.
    """
    if not seen.can_judge:
        return
    for task in seen.health.tasks:
        if not task.judged:
            count, what = task.sample_rows, "rows with a label"
            if task.kind == "binary":
                negatives = task.sample_rows - task.sample_positives
                rarer = min((task.sample_positives, "positives"), (negatives, "negatives"))
                count, what = rarer[0], f"{rarer[1]} in {task.sample_rows:,} rows"
            yield Finding(
                seen.lowered.span(("tasks", task.name), key=True),
                f"`{task.name}` has {count:,} {what} of the sample, too few for a verdict",
                help=f"use more rows with --rows and --sample-rows; {seen.limits.positives:g} "
                "are needed",
                about=(task.name,),
            )


@rule("HS742", "open-verdict", Severity.NOTE)
def open_verdict(seen: Examined) -> Iterator[Finding]:
    """A number is beyond its threshold, but the losses do not show whether it matters.

    The change of a loss without the expert or gate may or may not be negligible: its interval
    includes both, or no task has enough positives, or nothing was measured (`--sample-rows 0`). A
    larger sample makes intervals narrower.
    """
    for suspect in suspects(seen):
        target = suspect.target
        judged = seen.describe(suspect.kind, target)
        text = judged if seen.can_judge else "no loss was measured"
        yield Finding(
            seen.span(target),
            f"{target} {suspect.what}, but it is not clear whether it matters: {text}",
            help="use more rows with --sample-rows",
            about=(target,),
        )


class Suspect(NamedTuple):
    """A number beyond its threshold."""

    rule: str
    """The rule that judges it by the losses."""
    what: str
    """The statement, without its subject."""
    kind: Kind
    """The knock-out that shows whether it matters."""
    target: str
    """The expert, set, gate or LoRA that this knock-out changes."""


def suspects(seen: Examined) -> Iterator[Suspect]:
    """All numbers beyond a threshold that have no verdict."""
    for suspect in (*_of_experts(seen), *_of_own_experts(seen), *_of_gates(seen)):
        if seen.verdict(suspect.kind, suspect.target) is Verdict.OPEN:
            yield suspect
    for expert in seen.health.experts:
        use = owning_use(seen, expert)
        if use is not None and owned_verdict(seen, expert, use) is Verdict.OPEN:
            what = f"is used by the gate {short(use.gate)} to {use.share:.0%}"
            yield Suspect("owned-shared-expert", what, "without_expert", expert.name)


def _of_experts(seen: Examined) -> Iterator[Suspect]:
    small = {e.name for gate in seen.health.gates for e in small_experts(seen, gate)}
    for expert in seen.health.experts:
        name = expert.name
        if is_near_zero(seen, expert) and not has_collapsed(seen, expert):
            what = f"has {expert.near_zeros:.1%} of its outputs near 0"
            yield Suspect("collapsed-expert", what, "without_expert", name)
        elif name in small:
            what = "is far smaller than others of its gate"
            yield Suspect("uneven-experts", what, "constant_expert", name)
        if is_similar(seen, expert):
            what = f"is similar to {short(expert.nearest)}"
            yield Suspect("copied-expert", what, "replaced_expert", name)


def _of_own_experts(seen: Examined) -> Iterator[Suspect]:
    for gate in seen.health.gates:
        own = ignored_source(seen, gate)
        if own is not None:
            share = f"{own.contribution_with_self:.1%} of the state of `{gate.owner}`"
            what = f"contributes only {share}"
            yield Suspect("ignored-own-experts", what, "without_set", own.set)


def _of_gates(seen: Examined) -> Iterator[Suspect]:
    for gate in seen.health.gates:
        if is_constant(seen, gate):
            what = "has the same weights in all rows"
            yield Suspect("constant-gate", what, "constant_gate", gate.name)
    for feature_gate in seen.health.feature_gates:
        name = feature_gate.name
        if is_saturated(seen, feature_gate):
            yield Suspect("saturated-feature-gate", "is saturated", "constant_feature_gate", name)
        for lora in dead_loras(seen, feature_gate):
            yield Suspect("dead-lora", "does nothing", "without_lora", lora)
