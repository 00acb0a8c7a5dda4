"""Diagnostics: the format `concise`, one line each, for editors and grep."""

from __future__ import annotations

from homespec.diagnostics.diagnostic import Diagnostic, Report
from homespec.diagnostics.render.color import Paint, painter
from homespec.diagnostics.render.full import where
from homespec.diagnostics.render.terminal import printable


def render(report: Report, color: bool = False) -> str:
    """A line for each diagnostic: `file:line:column: error[HS201] name: message`."""
    paint = painter(color)
    return "".join(f"{_line(diagnostic, paint)}\n" for diagnostic in report.diagnostics)


def _line(diagnostic: Diagnostic, paint: Paint) -> str:
    rule = diagnostic.rule
    head = paint(f"{rule.severity}[{rule.code}]", rule.severity)
    return f"{where(diagnostic.span)}: {head} {rule.name}: {printable(diagnostic.message)}"
