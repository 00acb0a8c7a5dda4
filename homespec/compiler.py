"""The driver: runs the stages in order. Each may stop the compilation with its diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homespec.checks import check_graph, check_names
from homespec.diagnostics import Diagnostic, Severity
from homespec.ignores import apply_ignores
from homespec.lower import Lowered, lower
from homespec.resolve import resolve
from homespec.schema import validate
from homespec.source import Document, with_provenance
from homespec.source.columns import together
from homespec.variant import DEFAULT, Variant

if TYPE_CHECKING:
    from homespec.passes import Step


@dataclass(frozen=True, slots=True)
class Analysis(Lowered):
    """A sound spec with the results of the stages before the passes."""

    diagnostics: tuple[Diagnostic, ...]


class Stopped(Exception):  # noqa: N818  # not an error of ours: the user's spec has some
    """Raised when a stage finds errors: later stages would only report consequences."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__(f"{len(diagnostics)} diagnostics")
        self.diagnostics = diagnostics


def analyse(document: Document) -> Analysis:
    """Stages 2 to 5: schema, resolve, lower, checks. Raises Stopped with all diagnostics so far."""
    diagnostics = _sound(document.diagnostics)
    spec, violations = validate(document)
    diagnostics = _sound(diagnostics, violations)
    assert spec is not None
    resolved = resolve(spec, document)
    diagnostics = _sound(diagnostics, check_names(resolved))
    lowered = lower(resolved)
    diagnostics = _sound(diagnostics, check_graph(lowered))
    return Analysis(
        spec, document, resolved.root, resolved.layers, lowered.graph, tuple(diagnostics)
    )


def _sound(*stages: Iterable[Diagnostic]) -> list[Diagnostic]:
    """The diagnostics of all stages so far. Raises Stopped if one of them is an error."""
    diagnostics = [diagnostic for stage in stages for diagnostic in stage]
    if any(d.rule.severity is Severity.ERROR for d in diagnostics):
        raise Stopped(diagnostics)
    return diagnostics


def generate(
    analysis: Analysis,
    variant: Variant = DEFAULT,
    watch: Callable[[Step], None] | None = None,
) -> str:
    """Stages 6 and 7: passes, emit. The text of the generated file.

    `watch` is called with each pass. Raises UnknownNameError for unknown tasks and passes.
    """
    from homespec.emit import emit
    from homespec.header import header
    from homespec.passes import optimise

    variant = variant.asking(analysis.spec.tasks, analysis.spec.features)
    graph = optimise(analysis.graph, variant, watch)
    return emit(graph, header(analysis, graph, variant))


def validate_document(document: Document) -> list[Diagnostic]:
    """All findings in a document, except those that it ignores."""
    try:
        return filter_ignored(document, analyse(document).diagnostics)
    except Stopped as stopped:
        return filter_ignored(document, stopped.diagnostics)


def filter_ignored(document: Document, diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """The diagnostics as a user sees them: without ignored ones, and with the paths to bases."""
    kept = together(document, apply_ignores(document, diagnostics))
    return with_provenance(document, kept)
