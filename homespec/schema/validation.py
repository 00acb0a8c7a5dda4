"""Stage 2, schema: data -> Spec."""

from __future__ import annotations

from pydantic import ValidationError

from homespec.diagnostics import Diagnostic
from homespec.schema.gate_rules import home_of_one_layer
from homespec.schema.models import Spec
from homespec.source import Document


def validate(document: Document) -> tuple[Spec | None, list[Diagnostic]]:
    """The Spec of a document with its warnings, or every violation of the schema at once."""
    try:
        spec = Spec.model_validate(document.data)
    except ValidationError as failure:
        from homespec.schema.pydantic_errors import diagnose  # a sound spec is faster without

        return None, diagnose(document, failure.errors(include_url=False))
    return spec, home_of_one_layer(spec, document)
