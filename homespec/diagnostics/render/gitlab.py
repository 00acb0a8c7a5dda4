"""Diagnostics: the format `gitlab`, a code quality report for the merge request's widget."""

from __future__ import annotations

from homespec.diagnostics.diagnostic import Report, Severity
from homespec.diagnostics.render.fingerprint import described, fingerprints, relative
from homespec.diagnostics.render.json import dumps

SEVERITIES = {Severity.ERROR: "major", Severity.WARNING: "minor", Severity.NOTE: "info"}


def render(report: Report, color: bool = False) -> str:
    """A list of issues, which is empty if there are none."""
    issues = [
        {
            "description": described(diagnostic),
            "check_name": f"{diagnostic.rule.code} {diagnostic.rule.name}",
            "fingerprint": fingerprint,
            "severity": SEVERITIES[diagnostic.rule.severity],
            "location": {
                "path": relative(diagnostic.span.file),
                "lines": {"begin": diagnostic.span.start.line, "end": diagnostic.span.end.line},
            },
        }
        for diagnostic, fingerprint in fingerprints(report)
    ]
    return dumps(issues)
