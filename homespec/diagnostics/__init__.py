"""Diagnostics: findings about a spec as data, which `render` formats."""

from homespec.diagnostics.diagnostic import (
    Diagnostic,
    Finding,
    Label,
    Position,
    Report,
    Severity,
    Skipped,
    Span,
)
from homespec.diagnostics.registry import RULES, Rule, rule

__all__ = [
    "RULES",
    "Diagnostic",
    "Finding",
    "Label",
    "Position",
    "Report",
    "Rule",
    "Severity",
    "Skipped",
    "Span",
    "rule",
]
