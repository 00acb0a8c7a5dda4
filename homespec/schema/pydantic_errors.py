"""Stage 2, schema: turns pydantic's errors into diagnostics at the right characters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_core import ErrorDetails

from homespec.diagnostics import Diagnostic
from homespec.schema import cross_rules, field_rules, list_rules, section_rules
from homespec.schema.indentation import indentation_slips
from homespec.schema.key_remedies import meant_key
from homespec.schema.located_error import LocatedError
from homespec.source import Document

MAX_ERRORS = 200
"""Maximum number of errors that are reported; a spec with more has another problem."""

RULE_OF: dict[str, Callable[[LocatedError], list[Diagnostic]]] = {
    "extra_forbidden": field_rules.unknown_key,
    "missing": field_rules.missing_key,
    "literal_error": field_rules.unknown_choice,
    **dict.fromkeys(
        ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"),
        field_rules.out_of_range,
    ),
    "tiny_weight": field_rules.out_of_range,
    "list_kind": list_rules.list_kind,
    "cross_column": cross_rules.cross_column,
    "list_weights": list_rules.list_weights,
    **dict.fromkeys(
        ("too_short", "too_long", "string_too_short", "string_too_long"), field_rules.wrong_length
    ),
}
"""The rule that reports an error of pydantic; errors of our own validators have their rule's name,
and all others are wrong types."""


def diagnose(document: Document, errors: list[ErrorDetails]) -> list[Diagnostic]:
    """A diagnostic for each error of pydantic, without consequences of other errors."""
    if any(error["loc"] == ("homespec",) for error in errors):  # then nothing else counts
        errors = [error for error in errors if error["loc"] == ("homespec",)]
        return field_rules.unsupported_version(_located(document, errors[0]))
    errors = _once_by_entry(document, errors)
    diagnostics, errors = indentation_slips(document, errors)
    errors = _without_misspelt(document, errors)
    for error in _without_echoes(errors)[:MAX_ERRORS]:
        diagnostics += _rule_of(error["type"])(_located(document, error))
    return diagnostics


def _once_by_entry(document: Document, errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Errors in the common options of features that one entry lists, reported once."""
    kept: dict[object, ErrorDetails] = {}
    for error in errors:
        own = error["loc"][-1] == "[key]"
        place = error["loc"] if own else document.as_written(error["loc"])
        kept.setdefault((place, error["type"]) if place != error["loc"] else id(error), error)
    return list(kept.values())


def _rule_of(kind: str) -> Callable[[LocatedError], list[Diagnostic]]:
    own: Callable[[LocatedError], list[Diagnostic]] | None = getattr(section_rules, kind, None)
    return RULE_OF.get(kind) or own or field_rules.wrong_type


def _without_misspelt(document: Document, errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Errors without those of keys that are misspelt, which another error reports."""
    meant = set()
    for error in errors:
        if error["type"] == "extra_forbidden":
            *parent, key = error["loc"]
            meant.add((*parent, meant_key(document.existing(tuple(parent)), str(key))))
    return [e for e in errors if e["type"] != "missing" or e["loc"] not in meant]


def _without_echoes(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """A union reports once for each alternative: keep the first error of each place."""
    kept: dict[tuple[Any, ...], ErrorDetails] = {}
    for error in errors:
        if error["type"] == "too_short" and any(_is_inside(e["loc"], error["loc"]) for e in errors):
            continue  # pydantic counts only the valid entries
        place = tuple(s for s in error["loc"] if s not in ("int", "constrained-int"))
        place = place[:-1] if str(place[-1]).startswith("literal[") else place
        kept.setdefault((place, error["type"] == "extra_forbidden"), error)
    return _missing_together(list(kept.values()))


def _missing_together(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """The keys that one mapping lacks, in one error."""
    first: dict[tuple[int | str, ...], ErrorDetails] = {}
    left = []
    for error in errors:
        parent = error["loc"][:-1]
        if error["type"] == "missing" and parent in first:
            wanted = f"{first[parent]['loc'][-1]}, {error['loc'][-1]}"
            first[parent]["loc"] = (*parent, wanted)
            continue
        if error["type"] == "missing":
            first[parent] = error
        left.append(error)
    return left


def _is_inside(place: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


def _located(document: Document, error: ErrorDetails) -> LocatedError:
    loc = error["loc"]
    on_key = loc[-1] == "[key]"
    path = document.existing(loc[:-1] if on_key else loc)
    if error["type"] == "missing":
        path = document.existing(loc[:-1])
    return LocatedError(
        document=document,
        path=path,
        on_key=on_key,
        kind=error["type"],
        message=error["msg"],
        context=error.get("ctx", {}),
        value=error["input"],
        wanted=str(loc[-1]),
    )
