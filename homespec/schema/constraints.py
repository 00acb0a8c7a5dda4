"""Stage 2, schema: constraints of sections beyond keys and types, each defined once.

A constraint checks a section, and has a form as JSON Schema.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, LiteralString

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from homespec.schema.field_types import Model

Rules = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Constraint:
    """A check, which raises an error with its rule's name, and its two parts as JSON Schema.

    `conflicts` forbids keys together in a section, even in one that is merged over another; `needs`
    requires keys in a complete one.
    """

    check: Callable[[Any], None]
    conflicts: Rules = field(default_factory=list)
    needs: Rules = field(default_factory=list)


class Constrained(Model):
    """A section that has constraints."""

    constraints: ClassVar[tuple[Constraint, ...]]

    @model_validator(mode="after")
    def _meets_constraints(self) -> Constrained:
        for constraint in self.constraints:
            constraint.check(self)
        return self


def one_of(keys: tuple[str, ...], error: LiteralString) -> Constraint:
    """Exactly one of these keys is present, and it determines the kind of the section."""

    def check(section: Model) -> None:
        kinds = [key for key in keys if key in section.model_fields_set]
        if len(kinds) != 1:
            raise PydanticCustomError(error, "{kinds}", {"kinds": ", ".join(kinds)})

    message = f"one of {', '.join(keys)} is needed"
    return Constraint(
        check,
        [_excludes(key, *(other for other in keys if other != key)) for key in keys],
        [{"anyOf": [{"required": [key], "errorMessage": message} for key in keys]}],
    )


def only_with(
    allowed: tuple[str, ...],
    keys: tuple[str, ...],
    kinds: tuple[str, ...],
    error: LiteralString,
    needed: str = "",
) -> Constraint:
    """Keys that only the allowed kinds have; with a message `needed`, these kinds require them."""

    def check(section: Model) -> None:
        kind = next(kind for kind in kinds if kind in section.model_fields_set)
        for key in keys:
            has, may = key in section.model_fields_set, kind in allowed
            if (has and not may) or (may and needed and not has):
                raise PydanticCustomError(error, "{kind}", {"key": key, "kind": kind})

    required = {"required": [*keys], "errorMessage": needed}
    return Constraint(
        check,
        [_excludes(kind, *keys) for kind in kinds if kind not in allowed],
        [{"if": _has(kind), "then": required} for kind in allowed if needed],
    )


def _check_by(search: Any) -> None:
    if (search.search == "hard") != bool(search.by):
        raise PydanticCustomError("search_by", "{search}", {"search": search.search})


_HARD, _SOFT = (
    {"required": ["search"], "properties": {"search": {"const": kind}}} for kind in ("hard", "soft")
)
_WITHOUT_BY = {
    "enum": ["", None],
    "errorMessage": "only with `search: hard`",
    "doNotSuggest": True,
}
BY_WITH_HARD = Constraint(
    _check_by,
    [
        {"if": _HARD, "then": {"properties": {"by": {"minLength": 1, "doNotSuggest": True}}}},
        {"if": _SOFT, "then": {"properties": {"by": _WITHOUT_BY}}},
    ],
    [{"if": _HARD, "then": {"required": ["by"]}, "else": {"properties": {"by": _WITHOUT_BY}}}],
)
"""A hard search must name the field that it compares; a soft one compares all fields."""

NOT_EMPTY = Constraint(lambda section: None, needs=[{"minProperties": 1}])
"""A mapping must have a key. Gates check this themselves, before they interpret the mapping."""


def _excludes(key: str, *others: str) -> dict[str, Any]:
    """If `key` is present, the others are not; null removes a key."""
    absent = {"type": "null", "errorMessage": f"not beside `{key}`", "doNotSuggest": True}
    return {"if": _has(key), "then": {"properties": dict.fromkeys(others, absent)}}


def _has(key: str) -> dict[str, Any]:
    return {"required": [key], "properties": {key: {"not": {"type": "null"}}}}
