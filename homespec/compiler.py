"""The driver: the stages in their order, each of which may stop the line with its diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homespec.checks import check_design, check_layers, check_names, check_structure
from homespec.diagnostics import Diagnostic, Severity
from homespec.graph import Graph
from homespec.ignores import apply_ignores
from homespec.lower import build_graph
from homespec.resolve import build_tree, expand
from homespec.resolve.layers import Layer
from homespec.resolve.tree import TreeNode
from homespec.schema import Spec, validate
from homespec.source import Document, with_provenance
from homespec.variant import DEFAULT, Variant

if TYPE_CHECKING:
    from homespec.passes import Step


@dataclass(frozen=True, slots=True)
class Analysis:
    """A sound spec with everything that the stages before the passes found out about it."""

    document: Document
    spec: Spec
    root: TreeNode
    layers: list[Layer]
    graph: Graph
    diagnostics: tuple[Diagnostic, ...]


class Stopped(Exception):  # noqa: N818  # not an error of ours: the user's spec has some
    """A stage found errors: the later stages would only report their echoes."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__(f"{len(diagnostics)} diagnostics")
        self.diagnostics = diagnostics


def analyse(document: Document) -> Analysis:
    """Stages 2 to 4: schema, lower, checks. Raises Stopped with all diagnostics so far."""
    found = _checked(list(document.diagnostics), [])
    spec, violations = validate(document)
    found = _checked(found, violations)
    assert spec is not None
    found = _checked(found, check_names(spec, document))
    root = build_tree(spec)
    layers = expand(spec, root)
    found = _checked(found, check_layers(root, layers, document))
    graph = build_graph(spec, root, layers, document)
    found = _checked(found, check_structure(graph, layers, document))
    found = _checked(found, check_design(spec, root, layers, graph, document))
    return Analysis(document, spec, root, layers, graph, tuple(found))


def generate(
    analysis: Analysis,
    file: str,
    variant: Variant = DEFAULT,
    watch: Callable[[Step], None] | None = None,
) -> str:
    """Stages 5 and 6: passes, emit. `file` is the spec's path as the generated header names it.

    `watch` is told of each pass. Raises UnknownNameError for tasks and passes that are not there.
    """
    from homespec.emit import emit
    from homespec.passes import compiled

    variant = variant.asking(analysis.spec.tasks)
    graph = compiled(analysis.graph, variant, watch)
    return emit(graph, analysis.spec, analysis.root, analysis.document, file, variant)


def validate_document(document: Document) -> list[Diagnostic]:
    """Everything that there is to say about a document, but for what it ignores."""
    try:
        return told(document, analyse(document).diagnostics)
    except Stopped as stopped:
        return told(document, stopped.diagnostics)


def told(document: Document, diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """The diagnostics as a user gets them: without what is ignored, with the way to bases."""
    return with_provenance(document, apply_ignores(document, diagnostics))


def _checked(found: list[Diagnostic], more: list[Diagnostic]) -> list[Diagnostic]:
    """Both lists; raises Stopped if an error is among them."""
    both = [*found, *more]
    if any(d.rule.severity is Severity.ERROR for d in both):
        raise Stopped(both)
    return both
