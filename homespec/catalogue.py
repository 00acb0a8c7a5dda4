"""The catalogue of all rules, with look-up by code or name."""

from __future__ import annotations

from collections.abc import Mapping

from homespec.diagnostics.registry import RULES, Rule
from homespec.diagnostics.suggest import closest


def all_rules() -> Mapping[str, Rule]:
    """Every rule by its code, sorted. Imports the stages that declare them."""
    import homespec.checks.ignore_rules
    import homespec.data.data_rules
    import homespec.diff.compare
    import homespec.diff.files
    import homespec.health.check
    import homespec.schema.pydantic_errors
    import homespec.source  # noqa: F401

    return dict(sorted(RULES.items()))


def find_rule(word: str) -> Rule | None:
    """The rule with this code or name; case does not matter."""
    code, name = word.upper(), word.lower().replace("_", "-")
    for rules in (_imported_rules, _data_rules, all_rules):  # most specs need no more imports
        for rule in rules().values():
            if code == rule.code or name == rule.name:
                return rule
    return None


def _imported_rules() -> Mapping[str, Rule]:
    return RULES


def _data_rules() -> Mapping[str, Rule]:
    import homespec.data.data_rules  # noqa: F401

    return RULES


def nearest_rule(word: str) -> str | None:
    """The code or name of the rule that `word` probably means."""
    rules = all_rules()
    known = list(rules) if word[:2].upper() == "HS" else [rule.name for rule in rules.values()]
    return closest(word, known)
