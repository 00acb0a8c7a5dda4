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
from homespec.variant import DEFAULT, UnknownNameError, Variant

if TYPE_CHECKING:
    from homespec.passes import Step
    from homespec.schema.models import Spec


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

    variant = variant.asking(analysis.spec.tasks, with_tensors(analysis.spec, variant))
    graph = optimise(analysis.graph, variant, watch)
    return emit(graph, header(analysis, graph, variant))


def with_tensors(spec: Spec, variant: Variant) -> list[str]:
    """The features that are given to a model. Raises UnknownNameError for a cross of the user's."""
    crosses = [name for name, feature in spec.features.items() if feature.kind == "cross"]
    for name in variant.user_features:
        if name in crosses:
            ids = " and ".join(f"`{other}`" for other in spec.features[name].cross.of)
            raise UnknownNameError(
                f"`{name}` is a cross, which the model computes. Leave it out: it is the user's if "
                f"both {ids} are"
            )
    return [name for name in spec.features if name not in crosses]


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
