"""Diagnostics: the format `json`, a versioned object with the whole report."""

from __future__ import annotations

import json
from typing import Any

from homespec.diagnostics.diagnostic import Diagnostic, Position, Report, Severity, Span
from homespec.diagnostics.render.terminal import OLD_COMMAND

VERSION = 1
"""Increases when a key changes its meaning or is removed; new keys may come at any time."""


def render(report: Report, color: bool = False) -> str:
    """The report as JSON, in ASCII."""
    return dumps(as_dict(report))


def as_dict(report: Report) -> dict[str, Any]:
    """The report as plain data; lines and columns count from 1, `end` is exclusive."""
    return {
        "version": VERSION,
        "summary": {
            "errors": report.count(Severity.ERROR),
            "warnings": report.count(Severity.WARNING),
            "notes": report.count(Severity.NOTE),
            "files": len({diagnostic.span.file for diagnostic in report.diagnostics}),
        },
        "diagnostics": [_diagnostic(diagnostic) for diagnostic in report.diagnostics],
        "skipped": [{"file": one.file, "reason": one.reason} for one in report.skipped],
    }


def _diagnostic(diagnostic: Diagnostic) -> dict[str, Any]:
    return {
        "code": diagnostic.rule.code,
        "name": diagnostic.rule.name,
        "severity": str(diagnostic.rule.severity),
        "message": diagnostic.message,
        "label": diagnostic.label,
        "help": diagnostic.help,
        "span": _span(diagnostic.span),
        "related": [
            {"text": label.text, "span": _span(label.span)} for label in diagnostic.related
        ],
    }


def _span(span: Span) -> dict[str, Any]:
    return {"file": span.file, "start": _position(span.start), "end": _position(span.end)}


def _position(position: Position) -> dict[str, int]:
    return {"line": position.line, "column": position.column}


def dumps(data: object) -> str:
    """JSON in which no text is a command for GitHub's runner, for all JSON formats."""
    return json.dumps(data, indent=2).replace(OLD_COMMAND, "##\\u005b") + "\n"
