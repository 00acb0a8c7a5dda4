"""Stage 3, resolve: a spec with its resolved names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from homespec.diagnostics import Span
from homespec.resolve.layers import Layer, Path, layers_of
from homespec.resolve.tree import TreeNode, tree_of
from homespec.schema import Spec
from homespec.source import Document


@dataclass(frozen=True, slots=True)
class Resolved:
    """A valid spec, its document, the task tree and the layers on it.

    Every valid spec has a tree and layers: entries that make no sense are left out, and the rules
    on names (HS2xx) report them. Later stages run only if these rules find nothing.
    """

    spec: Spec
    document: Document
    root: TreeNode
    layers: tuple[Layer, ...]

    def has(self, path: Path) -> bool:
        """Whether the spec as written has this key or item."""
        return self.document.has(path)

    def span(self, path: Iterable[str | int], key: bool = False) -> Span:
        """The place of a value in the spec, or of its key."""
        return self.document.span(path, key)

    def first_span(self, paths: Iterable[Path], key: bool = False) -> Span:
        """The place of the first path that the spec has; the whole spec if it has none of them."""
        return self.span(next((path for path in paths if self.has(path)), ()), key)

    def span_giving(self, sections: Iterable[Path], key: str) -> Span | None:
        """The place of `key` in the first section that sets it, if any does."""
        paths = ((*section, key) for section in sections)
        path = next((path for path in paths if self.has(path)), None)
        return self.span(path) if path else None


def resolve(spec: Spec, document: Document) -> Resolved:
    """The tree and the layers of a valid spec. Never fails."""
    root = tree_of(spec)
    return Resolved(spec, document, root, layers_of(spec, root))
