"""HS119, HS125: gates that are switched by nothing, and HoME without its meta layers."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, rule
from homespec.diagnostics.diagnostic import Severity
from homespec.schema.located_error import LocatedError
from homespec.schema.models import Spec
from homespec.source import Document


@rule("HS119", "empty-gate")
def empty_gate(error: LocatedError) -> Iterator[Finding]:
    """A feature or self gate is an empty mapping.

    Whoever configures a gate wants it on, so a mapping switches it on, even below a `false` of an
    outer level. An empty mapping configures nothing: it would switch gates on silently.

    Bad:

        gates: {self: false, task: {self: {}}}

    Good:

        gates: {self: false, task: {self: true}}
    """
    yield Finding(
        error.span,
        f"`{error.where}` is an empty mapping, which says neither on nor off",
        label="says nothing",
        help="write `true` or `false`, or remove the key to take what the outer level says",
    )


@rule("HS125", "home-of-one-layer", Severity.WARNING)
def home_of_one_layer(spec: Spec, document: Document) -> Iterator[Finding]:
    """HoME is given one layer.

    HoME has a layer for each level of groups, the meta layers, and one for the tasks. With
    `layers: 1` nothing is left of the former: no state of a group, no meta experts, and the
    gates of the tasks read the features alone. What is published in that form is CGC.
    """
    if spec.family == "home" and spec.layers == 1 and "layers" in spec.model_fields_set:
        yield Finding(
            document.span(("layers",)),
            "HoME of one layer has no meta layers",
            label="no layer before the last",
            help="remove `layers` for one for each level of groups and one for the tasks, or "
            "write `family: cgc`",
        )
