"""Diagnostics: all rules there are, and finding one by its number or name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from homespec.diagnostics.registry import RULES, Rule
from homespec.diagnostics.suggest import closest

MODULES = (
    "homespec.compiler",
    "homespec.schema.pydantic_errors",
    "homespec.ignores",
    "homespec.data.data_rules",
)
"""Who imports them has imported every file with rules."""


def all_rules() -> Mapping[str, Rule]:
    """Every rule by its code, sorted; imports the stages that declare them."""
    for module in MODULES:
        importlib.import_module(module)
    return dict(sorted(RULES.items()))


def find_rule(word: str) -> Rule | None:
    """The rule with this code or name; case does not matter."""
    rules = all_rules()
    by_name = {rule.name: rule for rule in rules.values()}
    return rules.get(word.upper()) or by_name.get(word.lower().replace("_", "-"))


def nearest_rule(word: str) -> str | None:
    """The code or name of a rule that `word` was probably meant to be."""
    rules = all_rules()
    known = list(rules) if word[:2].upper() == "HS" else [rule.name for rule in rules.values()]
    return closest(word, known)
