"""Health: dataclasses as JSON, and its JSON Schema."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from homespec.diagnostics import Diagnostic
from homespec.health.measures import QUANTILES, VERSION, Effect, Health
from homespec.json_values import without_nan
from homespec.version import __version__

PLAIN: dict[type, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": ["number", "null"]},
    NoneType: {"type": "null"},
}
"""A value as JSON. A float that is NaN or infinite becomes null."""


def as_json(
    runs: Iterable[Health], findings: Iterable[Diagnostic], changes: Iterable[Effect] = ()
) -> dict[str, Any]:
    """The contents of `--json`: the runs, beginning with the one that was asked for, and the
    findings in it. With two runs, also the losses of the first minus those of the second.
    """
    return {
        "version": VERSION,
        "homespec": __version__,
        "quantiles": list(QUANTILES),
        "runs": [without_nan(dataclasses.asdict(run)) for run in runs],
        "loss_changes": [without_nan(dataclasses.asdict(change)) for change in changes],
        "findings": [_finding(one) for one in findings],
    }


def _finding(found: Diagnostic) -> dict[str, Any]:
    return {
        "code": found.rule.code,
        "rule": found.rule.name,
        "severity": found.rule.severity.value,
        "file": found.span.file,
        "line": found.span.start.line,
        "about": list(found.about),
        "message": found.message,
        "help": found.help,
    }


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what `as_json` returns."""
    definitions: dict[str, Any] = {}
    finding = {key: FINDING.get(key, {"type": "string"}) for key in FINDING_KEYS}
    properties = {
        "version": {"const": VERSION},
        "homespec": {"type": "string"},
        "quantiles": {"type": "array", "items": {"type": "number"}},
        "runs": {"type": "array", "minItems": 1, "items": _schema_of(Health, definitions)},
        "loss_changes": {"type": "array", "items": _schema_of(Effect, definitions)},
        "findings": {"type": "array", "items": _object(finding)},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What `homespec doctor --json` writes",
        **_object(properties),
        "$defs": definitions,
    }


FINDING_KEYS = ("code", "rule", "severity", "file", "line", "about", "message", "help")
FINDING: dict[str, dict[str, Any]] = {
    "line": {"type": "integer"},
    "about": {"type": "array", "items": {"type": "string"}},
}
"""The parts of a union that are not strings."""


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _schema_of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; dataclasses become definitions."""
    if kind in PLAIN:
        return dict(PLAIN[kind])
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _schema_of(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of(arguments[1], definitions)}
    if origin is UnionType:
        return {"anyOf": [_schema_of(one, definitions) for one in arguments]}
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # reserves its place before the definitions of its fields
        hints = get_type_hints(kind)
        fields = {f.name: _schema_of(hints[f.name], definitions) for f in dataclasses.fields(kind)}
        summary = (kind.__doc__ or "").splitlines()[0]
        definitions[kind.__name__] = {"description": summary, **_object(fields)}
    return {"$ref": f"#/$defs/{kind.__name__}"}
