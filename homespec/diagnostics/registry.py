"""The registry of rules. A rule is a function, and its docstring is its `explain` text."""

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
"""Maximum number of findings of one rule, so that files with very many findings are also quick."""

REST = "further findings of this rule are not reported"
"""The message of the last of these findings."""


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
"""The function of each rule by its code."""


def rule(
    code: str, name: str, severity: Severity = Severity.ERROR
) -> Callable[[Callable[P, Iterable[Finding]]], Callable[P, list[Diagnostic]]]:
    """Register a function that yields findings; calling it yields diagnostics of this rule.

    The docstring must say what is wrong, why it matters and how to fix it. `homespec explain` and
    the documentation show it as it is.
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
