"""The JSON Schema of the language, generated from the models for editors and for messages."""

from __future__ import annotations

import ast
import functools
import inspect
import json
from itertools import pairwise
from typing import Any

from homespec.schema import base, embedded, experts, gates, ids, inputs, models, sequences, tasks
from homespec.schema.models import Spec

SHORTHANDS: dict[str, dict[str, Any]] = {
    "Encoder": {"enum": list(sequences.KINDS)},
    "ExpertSet": {"type": "integer", "minimum": 0, "maximum": 4096},
    "FeatureGate": {"type": "boolean"},
    "SelfGate": {"type": "boolean"},
    "Task": {"type": "null"},
}
"""What a section may be written as instead of a mapping."""

INHERITING = ("LayerExperts", "Layer", "ExpertSet", "LayerGates")
"""Sections whose absent keys are taken from an outer level: they have no defaults of their own."""


@functools.cache
def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of version 1, with the shorthands as alternatives."""
    schema = Spec.model_json_schema()
    described = descriptions()
    for name, section in [("Spec", schema), *schema["$defs"].items()]:
        for field, value in section["properties"].items():
            value["description"] = _description(described, name, field)
    for name in INHERITING:
        for field in schema["$defs"][name]["properties"].values():
            field.pop("default", None)
    for name, short in SHORTHANDS.items():
        full = schema["$defs"][name]
        schema["$defs"][name] = {
            "description": full.pop("description", ""),
            "anyOf": [short, full],
        }
    _relax(schema)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "homespec, language version 1",
    }
    return {**head, **{key: schema[key] for key in schema if key != "title"}}


def _relax(schema: dict[str, Any]) -> None:
    """A spec that extends another one may leave out whatever that one says."""
    required = schema.pop("required")
    schema["anyOf"] = [{"required": required}, {"required": ["extends"]}]


@functools.cache
def descriptions() -> dict[str, dict[str, str]]:
    """Section -> field -> the docstring under the field in the models' source."""
    found: dict[str, dict[str, str]] = {}
    modules = (base, ids, embedded, inputs, sequences, tasks, experts, gates, models)
    sources = map(inspect.getsource, modules)
    for section in [part for source in sources for part in ast.parse(source).body]:
        if isinstance(section, ast.ClassDef):
            found[section.name] = {}
            for field, text in pairwise(section.body):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    docstring = inspect.cleandoc(ast.literal_eval(text.value))
                    name = ast.unparse(field.target).removesuffix("_")  # `with_` stands for `with`
                    found[section.name][name] = " ".join(docstring.split())
    return found


def _description(described: dict[str, dict[str, str]], name: str, field: str) -> str:
    """The description of a field in its section or in the section that it inherits from."""
    sections = [section.__name__ for section in getattr(models, name).__mro__]
    return next(described[s][field] for s in sections if field in described.get(s, {}))


def schema_text() -> str:
    """The text of `schemas/homespec-v1.schema.json`."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def keys_at(path: tuple[str | int, ...]) -> list[str]:
    """The keys that the language knows at a place of the document, in the schema's order."""
    places = _resolved(json_schema())
    for step in path:
        places = [deeper for place in places for deeper in _steps(place, step)]
    return list(dict.fromkeys(key for place in places for key in place.get("properties", {})))


def _steps(place: dict[str, Any], step: str | int) -> list[dict[str, Any]]:
    if isinstance(step, int):
        below = place.get("items")
    else:
        below = place.get("properties", {}).get(step, place.get("additionalProperties"))
    return _resolved(below) if isinstance(below, dict) else []


def _resolved(place: dict[str, Any]) -> list[dict[str, Any]]:
    """Follow references and alternatives to the schemas that say something themselves."""
    if "$ref" in place:
        name = place["$ref"].removeprefix("#/$defs/")
        return _resolved(json_schema()["$defs"][name])
    alternatives = [*place.get("anyOf", ()), *place.get("oneOf", ())]
    if "properties" in place:  # the alternatives only say what is required
        return [place]
    return [deeper for a in alternatives for deeper in _resolved(a)] or [place]
