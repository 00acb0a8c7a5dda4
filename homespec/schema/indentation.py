"""Stage 2, schema: sections that are in the wrong place because of wrong indentation.

One slip makes a dozen keys unknown and a section missing. It is reported once, and its echoes not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic_core import ErrorDetails

from homespec.diagnostics import Diagnostic, Finding, rule
from homespec.diagnostics.suggest import listing
from homespec.schema.models import Spec
from homespec.source import Document

SECTIONS = ("features", "groups", "tasks", "experts", "gates", "towers", "layers")
NAMED = ("features", "groups", "tasks")
"""Sections whose entries have names that users choose."""

Errors = list[ErrorDetails]


def indentation_slips(document: Document, errors: Errors) -> tuple[list[Diagnostic], Errors]:
    """Indentation mistakes, and the errors that are not their consequences."""
    diagnostics: list[Diagnostic] = []
    for parent, section in _swallowed(document.data or {}, errors):
        diagnostics += misplaced_section(document, section, parent)
        echo = (section,)
        errors = [e for e in errors if e["loc"][:2] != (parent, section) and e["loc"] != echo]
    for section, strays in _spilled(document.data or {}, errors):
        diagnostics += misplaced_section(document, section, strays)
        errors = [e for e in errors if e["loc"][0] not in (section, *strays)]
    return diagnostics, errors


def _swallowed(data: dict[str, Any], errors: Errors) -> Iterator[tuple[str, str]]:
    """(parent, section) for each section that is wrongly inside another one."""
    wrong = {error["loc"][:2] for error in errors}
    for parent in SECTIONS:
        inside = data.get(parent)
        if not isinstance(inside, dict):
            continue
        for section in inside:
            fits = section in SECTIONS and isinstance(inside[section], dict | list)
            if fits and section not in data and (parent, section) in wrong:
                yield parent, section


def _spilled(data: dict[str, Any], errors: Errors) -> Iterator[tuple[str, list[str]]]:
    """Sections without a value, with the unknown keys that follow them."""
    unknown = {e["loc"][0] for e in errors if e["type"] == "extra_forbidden" and len(e["loc"]) == 1}
    for section in NAMED:
        if section not in data or data[section] is not None:
            continue
        keys = list(data)
        strays = []
        for key in keys[keys.index(section) + 1 :]:
            if key in Spec.model_fields:
                break
            strays += [key] if key in unknown else []
        if strays:
            yield section, strays


@rule("HS115", "misplaced-section")
def misplaced_section(
    document: Document, section: str, where: str | list[str]
) -> Iterator[Finding]:
    """A section is inside another one, or its entries are beside it.

    In YAML, indentation shows which entries belong to which section. A top-level section begins in
    the first column, and its entries are indented below it.

    Bad:

        groups:
          watch: [click, finish]
          tasks:
            click: {}

    Good:

        groups:
          watch: [click, finish]
        tasks:
          click: {}
    """
    if isinstance(where, str):
        yield Finding(
            document.span((where, section), key=True),
            f"`{section}` is inside `{where}`",
            label="indented too far",
            help=f"begin `{section}:` in the first column",
        )
    else:
        yield Finding(
            document.span((section,), key=True),
            f"`{section}` is empty, and `{where[0]}` after it is not a section",
            label="its entries are not indented",
            help=f"indent {listing(where, 4)} below `{section}:`",
        )
