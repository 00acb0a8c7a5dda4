"""Stage 2, schema: data -> Spec, and HS125, the warning about a sound one."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from homespec.diagnostics import Diagnostic, Finding, Severity, rule
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


@rule("HS125", "home-of-one-layer", Severity.WARNING)
def home_of_one_layer(spec: Spec, document: Document) -> Iterator[Finding]:
    """HoME has only one layer.

    HoME has a layer for each level of groups, the meta layers, and one for the tasks. With `layers:
    1` the meta layers are gone: groups have no states, there are no meta experts, and the gates of
    the tasks read only the features. That form is published as CGC.
    """
    if spec.family == "home" and spec.layers == 1 and "layers" in spec.model_fields_set:
        yield Finding(
            document.span(("layers",)),
            "HoME with one layer has no meta layers",
            label="no layer comes before the last",
            help="remove `layers` to get one layer for each level of groups and one for the "
            "tasks, or write `family: cgc`",
        )
