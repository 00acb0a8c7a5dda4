"""The language as a JSON Schema, generated from the models: for messages and the reference.

`editor` makes of it what editors complete and check with.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
from itertools import pairwise
from typing import Any

from homespec.schema import (
    crosses,
    embedded,
    experts,
    features,
    field_types,
    gates,
    lists,
    models,
    promises,
    sequences,
    tasks,
)
from homespec.schema.models import Spec

SHORTHANDS: dict[str, dict[str, Any]] = {
    "Encoder": {"enum": list(sequences.KINDS)},
    "ExpertSet": {"type": "integer", "minimum": 0, "maximum": 4096},
    "FeatureGate": {"type": "boolean"},
    "Group": {"type": "array", "minItems": 1, "items": {"type": "string", "maxLength": 200}},
    "SelfGate": {"type": "boolean"},
    "Task": {"type": "null"},
}
"""The short forms of sections, instead of a mapping."""

INHERITING = ("LayerExperts", "Layer", "ExpertSet", "LayerGates")
"""Sections that inherit absent keys from an outer level, and so have no defaults."""


@functools.cache
def sections() -> dict[str, dict[str, Any]]:
    """Section -> the JSON Schema of its long form, a mapping. The spec itself is one of them."""
    spec = Spec.model_json_schema()
    result: dict[str, dict[str, Any]] = {**spec.pop("$defs"), "Spec": spec}
    described = descriptions()
    for name, section in result.items():
        for field, value in section["properties"].items():
            value["description"] = _description(described, name, field)
            value["title"] = field
            default = value.get("default")
            if _is_absence(default, value):
                value.pop("default", None)
            elif "enum" not in value and not isinstance(default, list):
                value.setdefault("examples", [default])
            if name in INHERITING:
                value.pop("default", None)
    return result


def _is_absence(default: Any, value: dict[str, Any]) -> bool:
    """Whether a default of the models means absence: it is never written."""
    choices = value.get("oneOf", [value])
    if isinstance(default, list):
        return any(len(default) < int(choice.get("minItems", 0)) for choice in choices)
    if default in (None, "") or isinstance(default, dict):
        return True
    lowest = max(choice.get("minimum", -math.inf) for choice in choices)
    return isinstance(default, int) and default < lowest


@functools.cache
def descriptions() -> dict[str, dict[str, str]]:
    """Section -> field -> the docstring under the field in the models' source."""
    described: dict[str, dict[str, str]] = {}
    modules = (
        field_types,
        embedded,
        lists,
        crosses,
        features,
        sequences,
        tasks,
        experts,
        gates,
        promises,
        models,
    )
    sources = map(inspect.getsource, modules)
    for section in [part for source in sources for part in ast.parse(source).body]:
        if isinstance(section, ast.ClassDef):
            described[section.name] = {}
            for field, text in pairwise(section.body):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    docstring = inspect.cleandoc(ast.literal_eval(text.value))
                    name = ast.unparse(field.target).removesuffix("_")  # `with_` stands for `with`
                    described[section.name][name] = " ".join(docstring.split())
    return described


def _description(described: dict[str, dict[str, str]], name: str, field: str) -> str:
    """The description of a field in its section or in the section that it inherits from."""
    lineage = [section.__name__ for section in getattr(models, name).__mro__]
    return next(described[s][field] for s in lineage if field in described.get(s, {}))


def properties_at(path: tuple[str | int, ...]) -> dict[str, dict[str, Any]]:
    """The keys that the language knows at a place of the document, with their schemas, in order."""
    found: dict[str, dict[str, Any]] = {}
    for place in _places(path):
        for key, value in place.get("properties", {}).items():
            found.setdefault(key, value)
    return found


def keys_at(path: tuple[str | int, ...]) -> list[str]:
    """The keys that the language knows at a place of the document, in the schema's order."""
    return list(properties_at(path))


def scalars_at(path: tuple[str | int, ...]) -> list[str]:
    """The words that may be the whole value at a place: choices, switches, and short forms."""
    words: list[str] = []
    for place in _places(path):
        short = SHORTHANDS.get(str(place.get("title")), {})
        for schema in (place, short):
            words += map(str, schema.get("enum", ()))
            words += ["true", "false"] if schema.get("type") == "boolean" else []
    return list(dict.fromkeys(words))


def choices_at(path: tuple[str | int, ...]) -> list[str]:
    """The words that the language knows at a place, or the kinds if each has a section."""
    words = [word for place in _places(path) for word in place.get("enum", ())]
    return words or keys_at(path)


def examples_at(path: tuple[str | int, ...]) -> list[Any]:
    """Usual values at a place."""
    return [example for place in _places(path) for example in place.get("examples", ())]


def _places(path: tuple[str | int, ...]) -> list[dict[str, Any]]:
    """The schemas of a place of the document, one for each possible form."""
    places = [sections()["Spec"]]
    for step in path:
        places = [deeper for place in places for deeper in _steps(place, step)]
    return places


def _steps(place: dict[str, Any], step: str | int) -> list[dict[str, Any]]:
    if isinstance(step, int):
        below = place.get("items")
    else:
        below = place.get("properties", {}).get(step, place.get("additionalProperties"))
    return _resolved(below) if isinstance(below, dict) else []


def _resolved(place: dict[str, Any]) -> list[dict[str, Any]]:
    """Follow references and alternatives to the schemas with their own content."""
    if "$ref" in place:
        return [sections()[referred(place)]]
    return [deeper for a in place.get("oneOf", ()) for deeper in _resolved(a)] or [place]


def referred(value: dict[str, Any]) -> str:
    """The section that a reference names."""
    reference: str = value["$ref"]
    return reference.removeprefix("#/$defs/")
