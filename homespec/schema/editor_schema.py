"""The JSON Schema that editors complete and check specs with.

It knows what one file can show. A spec that `extends` another one holds parts of sections, and null
takes a key of its base away: its sections are the same with nothing required.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from homespec.schema import models
from homespec.schema.constraints import Constraint
from homespec.schema.embedded import DIM_NEEDED, FIELD_DIM_NEEDED
from homespec.schema.jsonschema import SHORTHANDS, referred, sections
from homespec.schema.patterns import FORMS

Schema = dict[str, Any]

PART = "Part"
"""Suffix of the names of sections that may lack keys, because a base has them."""

BY_FAMILY = ("Experts", "Mixture", "FeatureGate", "SelfGate")
"""Sections whose defaults are HoME's; other families have other ones."""

NULL: Schema = {"type": "null"}


@functools.cache
def json_schema() -> Schema:
    """The JSON Schema (draft 2020-12) of version 1."""
    whole = {name: _whole(name, section) for name, section in sections().items()}
    parts = {name + PART: _part(name, section) for name, section in sections().items()}
    root = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "homespec, language version 1",
        "type": "object",
        "if": {"required": ["extends"]},
        "then": {"$ref": f"#/$defs/Spec{PART}"},
        "else": {"$ref": "#/$defs/Spec"},
    }
    return {**root, "$defs": _reachable(root, {**FORMS, **whole, **parts})}


def schema_text() -> str:
    """The text of `schemas/homespec-v1.schema.json`."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _whole(name: str, section: Schema) -> Schema:
    """A complete section, with its short form as an alternative."""
    properties = {key: _shown(name, value) for key, value in section["properties"].items()}
    return _short(name, {**section, "properties": properties, **_rules(name, complete=True)})


def _part(name: str, section: Schema) -> Schema:
    """A section that is merged over another one, key by key."""
    required = section.get("required", ())
    properties = {}
    for key, value in section["properties"].items():
        part = _parted(_shown(name, value))
        properties[key] = part if key in required or key == "extends" else _or_null(part)
    whole = {key: value for key, value in section.items() if key != "required"}
    return _short(
        name,
        {
            **whole,
            "properties": properties,
            **_rules(name),
        },
    )


def _rules(name: str, complete: bool = False) -> Schema:
    """The demands of a section's constraints."""
    constraints: tuple[Constraint, ...] = getattr(getattr(models, name), "constraints", ())
    rules = [rule for constraint in constraints for rule in constraint.conflicts]
    if complete:
        rules += [rule for constraint in constraints for rule in constraint.needs]
        rules += [_dims()] if name == "Spec" else []
    return {"allOf": rules} if rules else {}


def _dims() -> Schema:
    """Without a spec-wide `dim`, each feature with a table and each field of events needs one."""
    fields = {"with": {"additionalProperties": FIELD_DIM_NEEDED}}
    each = {**DIM_NEEDED, "properties": {"sequence": {"properties": fields}}}
    needed = {"properties": {"features": {"additionalProperties": each}}}
    return {"if": {"not": {"required": ["dim"]}}, "then": needed}


def _short(name: str, section: Schema) -> Schema:
    if name not in SHORTHANDS:
        return section
    head = {key: section[key] for key in ("title", "description")}
    full = {key: value for key, value in section.items() if key != "description"}
    return {**head, "anyOf": [SHORTHANDS[name], full]}


def _shown(section: str, value: Schema) -> Schema:
    """A property as editors make the best of it.

    They write the keys that have a `default` into each new section, where HoME's would replace
    another family's: it is an example, and in the description. They begin a list of numbers with
    a 0, and complete no colon after a key whose value has several forms, unless under `anyOf`.
    """
    value = dict(value)
    default = value.pop("default", None)
    if default is not None:
        whose = "HoME's default" if section in BY_FAMILY else "Default"
        value["description"] += f" {whose}: {json.dumps(default)}."
    if value.get("type") == "array" and value["items"].get("type") in ("integer", "number"):
        value = {**_head(value), "anyOf": [value]}
    if "oneOf" in value:
        value["anyOf"] = value.pop("oneOf")
    if "propertyNames" in value:
        value["propertyNames"] = _form(value["propertyNames"])
    return _form(value)


def _form(value: Schema) -> Schema:
    """Texts of a form, such as names, are defined once."""
    if "format" not in value:
        return value
    kept = {key: below for key, below in value.items() if key not in ("type", "format")}
    return {**kept, "$ref": f"#/$defs/{value['format']}"}


def _parted(value: Schema) -> Schema:
    """The schema of a value that is merged over another one. Lists are replaced as a whole."""
    value = {key: below for key, below in value.items() if key != "minProperties"}
    if "$ref" in value and referred(value) in sections():
        value["$ref"] += PART
    if isinstance(value.get("additionalProperties"), dict):
        value["additionalProperties"] = _or_null(_parted(value["additionalProperties"]))
    if "anyOf" in value:
        value["anyOf"] = [_parted(alternative) for alternative in value["anyOf"]]
    return value


def _or_null(value: Schema) -> Schema:
    """The schema or null, with the description where editors look for it."""
    if "enum" in value:
        return {**value, "type": [value["type"], "null"], "enum": [*value["enum"], None]}
    if "type" in value:
        kinds = value["type"] if isinstance(value["type"], list) else [value["type"]]
        return {**value, "type": [*kinds, "null"]}
    head = _head(value)
    bare = {key: below for key, below in value.items() if key not in head}
    alternatives = bare["anyOf"] if bare.keys() == {"anyOf"} else [bare]
    return {**head, "anyOf": [*alternatives, NULL]}


def _head(value: Schema) -> Schema:
    """The keywords that describe a value and do not restrict it."""
    return {key: value[key] for key in ("title", "description", "examples") if key in value}


def _reachable(root: Schema, definitions: dict[str, Schema]) -> dict[str, Schema]:
    """The definitions that the root needs, in order of appearance."""
    reachable: dict[str, Schema] = {}
    waiting = [root]
    while waiting:
        for name in _references(waiting.pop(0)):
            if name not in reachable:
                reachable[name] = definitions[name]
                waiting.append(reachable[name])
    return reachable


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for item in value for name in _references(item)]
    if not isinstance(value, dict):
        return []
    own = [referred(value)] if "$ref" in value else []
    return own + [name for below in value.values() for name in _references(below)]
