"""Diagnostics: the format `sarif`, version 2.1.0, for code scanning services."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from homespec.diagnostics.diagnostic import Diagnostic, Report, Span
from homespec.diagnostics.registry import Rule
from homespec.diagnostics.render.fingerprint import fingerprints, relative
from homespec.diagnostics.render.json import dumps

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render(report: Report, color: bool = False) -> str:
    """The report as one run of homespec, with the documentation of its rules."""
    rules = {d.rule.code: d.rule for d in report.diagnostics}
    order = sorted(rules)
    run = {
        "tool": {"driver": {"name": "homespec", "rules": [_rule(rules[c]) for c in order]}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(d, order, mark) for d, mark in fingerprints(report)],
    }
    return dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "help": {"text": rule.doc, "markdown": rule.doc},
        "defaultConfiguration": {"level": str(rule.severity)},
    }


def _result(diagnostic: Diagnostic, order: list[str], fingerprint: str) -> dict[str, Any]:
    text = "\n".join(filter(None, (diagnostic.message, diagnostic.label, diagnostic.help)))
    result = {
        "ruleId": diagnostic.rule.code,
        "ruleIndex": order.index(diagnostic.rule.code),
        "level": str(diagnostic.rule.severity),
        "message": {"text": text},
        "locations": [_location(diagnostic.span)],
        "partialFingerprints": {"homespec/v1": fingerprint},
    }
    if diagnostic.related:
        result["relatedLocations"] = [
            {"id": index, "message": {"text": label.text}, **_location(label.span)}
            for index, label in enumerate(diagnostic.related)
        ]
    return result


def _location(span: Span) -> dict[str, Any]:
    region = {
        "startLine": span.start.line,
        "startColumn": span.start.column,
        "endLine": span.end.line,
        "endColumn": span.end.column,
    }
    return {"physicalLocation": {"artifactLocation": _artifact(span.file), "region": region}}


def _artifact(file: str) -> dict[str, str]:
    """The file's URI, relative to the root of the sources unless it is outside."""
    path = PurePosixPath(relative(file))
    if path.is_absolute():
        return {"uri": "file://" + quote(str(path), errors="replace")}
    return {"uri": quote(str(path), errors="replace"), "uriBaseId": "%SRCROOT%"}
