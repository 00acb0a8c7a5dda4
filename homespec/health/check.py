"""Health: all rules on the numbers of a model (HS7xx)."""

from __future__ import annotations

from homespec.diagnostics import Diagnostic
from homespec.health import expert_rules, gate_rules, sharing_rules, start_rules, verdict_rules
from homespec.health.evidence import Examined
from homespec.health.measures import Health
from homespec.lower import Lowered


def check(lowered: Lowered, health: Health) -> list[Diagnostic]:
    """The findings in the health of a model."""
    seen = Examined(health, lowered)
    rules = RULES_AT_START if health.at_start else RULES
    return [found for find in rules for found in find(seen)]


RULES = (
    expert_rules.collapsed,
    expert_rules.sparse,
    expert_rules.dead_channels,
    expert_rules.uneven,
    expert_rules.copied,
    expert_rules.idle,
    sharing_rules.owned,
    sharing_rules.ignored,
    gate_rules.constant,
    gate_rules.saturated,
    gate_rules.hard,
    gate_rules.dead_lora,
    verdict_rules.too_few,
    verdict_rules.open_verdict,
)

RULES_AT_START = (start_rules.flat_start, start_rules.dead_start)
"""Gates that do not move and LoRAs that do nothing are normal before training."""
