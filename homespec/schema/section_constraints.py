"""Stage 2, schema: what a section needs besides its keys, in the words of JSON Schema.

The validators of the models say the same, with better messages; tests hold the two to be equal.
"""

from __future__ import annotations

from typing import Any

from homespec.schema.embedded import OWNERS
from homespec.schema.features import KINDS, OF_DENSE
from homespec.schema.sequences import FIELD_KINDS
from homespec.schema.sequences import KINDS as ENCODERS

Rules = list[dict[str, Any]]

NOT_EMPTY = {"minLength": 1, "doNotSuggest": True}


def needs_of(section: str) -> Rules:
    """What must be there in a complete section, given what is there."""
    return {
        "Feature": [_one_of(KINDS), *_dims()],
        "EventField": [_one_of(FIELD_KINDS), *_dims()],
        "Id": [_one_of(("buckets", "vocab"))],
        "Encoder": [_one_of(ENCODERS)],
        "FeatureGate": [{"minProperties": 1}],
        "SelfGate": [{"minProperties": 1}],
        "Sim": [
            {"if": _says("search", "hard"), "then": {"required": ["by"]}, "else": _soft()},
        ],
    }.get(section, [])


def conflicts_of(section: str) -> Rules:
    """What cannot be together in a section, not even in one that is laid over another one."""
    return {
        "Feature": [
            *(_excludes(kind, *_others(kind, KINDS)) for kind in KINDS),
            *(_excludes(kind, "dim") for kind in KINDS if kind not in OWNERS),
            *(_excludes(kind, *OF_DENSE) for kind in KINDS if kind != "dense"),
            _excludes("sequence", "column"),
        ],
        "EventField": [
            *(_excludes(kind, *_others(kind, FIELD_KINDS)) for kind in FIELD_KINDS),
            *(_excludes(kind, "dim") for kind in FIELD_KINDS if kind not in OWNERS),
        ],
        "Id": [_excludes("buckets", "vocab"), _excludes("vocab", "buckets")],
        "Encoder": [_excludes(kind, *_others(kind, ENCODERS)) for kind in ENCODERS],
        "Sim": [
            {"if": _says("search", "hard"), "then": {"properties": {"by": NOT_EMPTY}}},
            {"if": _says("search", "soft"), "then": _soft()},
        ],
    }.get(section, [])


def _others(kind: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(other for other in kinds if other != kind)


def _one_of(kinds: tuple[str, ...]) -> dict[str, Any]:
    """At least one of these keys; that there are not two is a matter of `_excludes`."""
    message = f"one of {', '.join(kinds)} is needed"
    return {"anyOf": [{"required": [kind], "errorMessage": message} for kind in kinds]}


def _dims() -> Rules:
    message = "add `dim`, the width of the embedding"
    needed = {"required": ["dim"], "errorMessage": message}
    return [{"if": _has(kind), "then": needed} for kind in OWNERS]


def _excludes(key: str, *others: str) -> dict[str, Any]:
    """Where `key` is, the others are not; null takes a key away."""
    absent = {"type": "null", "errorMessage": f"not beside `{key}`", "doNotSuggest": True}
    return {"if": _has(key), "then": {"properties": dict.fromkeys(others, absent)}}


def _has(key: str) -> dict[str, Any]:
    return {"required": [key], "properties": {key: {"not": {"type": "null"}}}}


def _says(key: str, word: str) -> dict[str, Any]:
    return {"required": [key], "properties": {key: {"const": word}}}


def _soft() -> dict[str, Any]:
    """A soft search compares all fields."""
    absent = {"enum": ["", None], "errorMessage": "only with `search: hard`", "doNotSuggest": True}
    return {"properties": {"by": absent}}
