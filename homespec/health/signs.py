"""Health: signs, which are read from the numbers of a model whose losses were not measured.

A sign is a number beyond its threshold. It describes the model; whether a task suffers from it is
for the knock-outs of the doctor to decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from homespec.checks.causes import by_cause
from homespec.diagnostics import Diagnostic
from homespec.diagnostics.registry import RULES
from homespec.health.evidence import Examined
from homespec.health.expert_rules import is_mostly_dead, is_near_zero
from homespec.health.measures import Health, short
from homespec.health.verdict_rules import suspects
from homespec.lower import Lowered

RANKED = (
    "collapsed-expert", "ignored-own-experts", "owned-shared-expert", "uneven-experts",
    "constant-gate", "saturated-feature-gate", "dead-channels", "dead-lora",
)  # fmt: skip
"""The rules that would judge, in order of importance: HoME's anomalies come first."""
UNMOVED, STEPS = ("constant-gate", "dead-lora"), 100
"""Signs that are normal when training begins, and the number of steps after which they count."""
KINDS = {"experts": "expert", "gates": "gate", "feature_gates": "feature gate"}
"""The kind of part that the first component of a name stands for."""


def signs(lowered: Lowered, health: Health, steps: int) -> list[Diagnostic]:
    """All signs in the numbers of a model, each with the rule that would judge it.

    `steps` is the number of training steps.
    """
    by_name = {rule.name: rule for rule in RULES.values()}
    seen = Examined(health, lowered)
    return [
        Diagnostic(by_name[name], seen.span(target), f"{_called(target)} {what}")
        for name, target, what in (*_suspected(seen), *_dead(seen))
        if steps >= STEPS or name not in UNMOVED
    ]


def _suspected(seen: Examined) -> Iterator[tuple[str, str, str]]:
    for suspect in suspects(seen):
        yield suspect.rule, suspect.target, suspect.what


def _dead(seen: Examined) -> Iterator[tuple[str, str, str]]:
    for expert in seen.health.experts:
        if is_mostly_dead(seen, expert) and not is_near_zero(seen, expert):
            what = f"has {expert.dead_channels:.0%} dead channels of {expert.width}"
            yield "dead-channels", expert.name, what


def _called(target: str) -> str:
    """A part in words: `expert meta.watch.0`, `LoRA 1 of the feature gate task.like`."""
    name, _, lora = target.partition(".loras.")
    is_set = name.startswith("experts.") and not name.rpartition(".")[2].isdigit()
    called = f"{KINDS[name.partition('.')[0]]}{' set' if is_set else ''} {short(name)}"
    return f"LoRA {lora} of the {called}" if lora else called


def sentences(found: Iterable[Diagnostic]) -> list[str]:
    """Signs as sentences, one for each rule, in order of importance."""
    by_rule = by_cause(found, lambda sign: sign.rule.name)
    return [_sentence(by_rule[name]) for name in RANKED if name in by_rule]


def _sentence(alike: list[Diagnostic]) -> str:
    message, more = alike[0].message, len(alike) - 1
    also = f", and {more} more {'are' if more > 1 else 'is'} like it" if more else ""
    return f"{message[0].upper()}{message[1:]}{also}."
