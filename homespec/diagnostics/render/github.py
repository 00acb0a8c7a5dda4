"""Diagnostics: the format `github`, workflow commands that annotate the lines of a pull request."""

from __future__ import annotations

from homespec.diagnostics.diagnostic import Diagnostic, Report, Severity
from homespec.diagnostics.render.fingerprint import described, relative
from homespec.diagnostics.render.terminal import printable

LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render(report: Report, color: bool = False) -> str:
    """A command `::error file=...::message` for each diagnostic."""
    return "".join(f"{_command(diagnostic)}\n" for diagnostic in report.diagnostics)


def _command(diagnostic: Diagnostic) -> str:
    rule, span = diagnostic.rule, diagnostic.span
    properties = {
        "file": relative(span.file),
        "line": span.start.line,
        "endLine": span.end.line,
        "col": span.start.column,
    }
    if span.end.line == span.start.line:  # GitHub accepts columns only for a range within one line
        properties["endColumn"] = span.end.column
    properties["title"] = f"{rule.code} {rule.name}"
    pairs = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
    text = "\n".join(map(printable, described(diagnostic).split("\n")))
    return f"::{LEVELS[rule.severity]} {pairs}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")
