"""The registry of rules: a rule is one function, its docstring is its `explain` text."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import ParamSpec

from homespec.diagnostics.diagnostic import Diagnostic, Finding, Severity

P = ParamSpec("P")

MAX_FINDINGS = 50
"""Maximum number of findings of one rule, so that a file made to have more is also quick."""

REST = "further findings of this rule are not reported"
"""What the last of them says."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule's stable number, stable kebab-case name, severity and documentation (markdown)."""

    code: str
    name: str
    severity: Severity
    doc: str

    @property
    def summary(self) -> str:
        """The first line of the documentation."""
        return self.doc.splitlines()[0]


RULES: dict[str, Rule] = {}
"""Every rule by its code; filled when the stages are imported."""

CHECKS: dict[str, Callable[..., list[Diagnostic]]] = {}
"""The function of every rule by its code."""


def rule(
    code: str, name: str, severity: Severity = Severity.ERROR
) -> Callable[[Callable[P, Iterable[Finding]]], Callable[P, list[Diagnostic]]]:
    """Register a function that yields findings; callers get diagnostics of this rule.

    The docstring must say what is wrong, why it matters and how to mend it: it is printed by
    `homespec explain` and is in the documentation as it is.
    """

    def decorate(find: Callable[P, Iterable[Finding]]) -> Callable[P, list[Diagnostic]]:
        made = Rule(code, name, severity, inspect.getdoc(find) or "")
        if code in RULES or any(r.name == name for r in RULES.values()):
            raise ValueError(f"rule {code} {name} is registered twice")
        RULES[code] = made

        @functools.wraps(find)
        def run(*args: P.args, **kwargs: P.kwargs) -> list[Diagnostic]:
            findings = list(islice(find(*args, **kwargs), MAX_FINDINGS))
            if len(findings) == MAX_FINDINGS:
                last = findings[-1]
                findings[-1] = replace(last, help=f"{last.help} ({REST})".strip())
            return [
                Diagnostic(made, f.span, f.message, f.label, f.related, f.help, f.about)
                for f in findings
            ]

        CHECKS[code] = run
        return run

    return decorate
