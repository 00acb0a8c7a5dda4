"""The doctor's report: numbered findings, and the parts of the model that they concern."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from homespec.diagnostics import Diagnostic, Report, Severity
from homespec.health.measures import short

SEVERITIES = list(Severity)
"""In order, the most severe first."""


@dataclass(frozen=True)
class Found:
    """A numbered finding, with the line of the spec that it points to."""

    number: int
    severity: str
    code: str
    rule: str
    message: str
    """As HTML."""
    place: str
    source: str
    help: str
    about: tuple[str, ...]
    """Logical names of the parts that it concerns."""

    @property
    def parts(self) -> str:
        """The short names of these parts."""
        return ", ".join(short(name) or name for name in self.about)


def findings(report: Report) -> list[Found]:
    """The findings of a report by severity, then by code. Open verdicts have the last codes."""
    ordered = sorted(
        report.diagnostics, key=lambda d: (SEVERITIES.index(d.rule.severity), d.rule.code)
    )
    return [_found(number, one, report) for number, one in enumerate(ordered, 1)]


def _found(number: int, one: Diagnostic, report: Report) -> Found:
    lines = report.texts.get(one.span.file, "").splitlines()
    at = one.span.start.line
    return Found(
        number,
        one.rule.severity.value,
        one.rule.code,
        one.rule.name,
        with_code(one.message),
        f"{Path(one.span.file).name}:{at}",
        lines[at - 1].strip() if 0 < at <= len(lines) else "",
        one.help,
        one.about,
    )


def with_code(words: str) -> str:
    """Text as HTML, with parts between backticks as code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(words))


def marks(found: list[Found]) -> dict[str, list[Found]]:
    """The findings for each part by severity. Findings about a LoRA belong to its gate."""
    by: dict[str, list[Found]] = {}
    for one in found:
        for name in dict.fromkeys(map(_drawn, one.about)):
            by.setdefault(name, []).append(one)
    return by


def _drawn(name: str) -> str:
    return name.partition(".loras.")[0]


def by_part(report: Report) -> Iterator[tuple[str, str]]:
    """Pairs of the rule of a finding and a part that it concerns."""
    for one in report.diagnostics:
        yield from ((one.rule.name, short(name) or name) for name in one.about)


def counts(found: list[Found]) -> Iterator[str]:
    """The number of findings of each severity: `2 warnings`, `1 note`."""
    for severity in SEVERITIES:
        if number := sum(one.severity == severity for one in found):
            yield f"{number} {severity.value}{'' if number == 1 else 's'}"
