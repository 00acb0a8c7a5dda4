"""HS698 and HS699: specs that only one of two folders, or commits, has."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding
from homespec.diff.pair import Breaks, change
from homespec.source import Document


@change("HS698", "spec-added", Breaks.COSMETIC)
def spec_added(document: Document) -> Iterator[Finding]:
    """A spec that the old folder or commit does not have: a new model breaks nothing.

    There is nothing to compare it with.
    """
    yield Finding(document.span((), key=True), "this spec is new")


@change("HS699", "spec-removed", Breaks.INTERFACE)
def spec_removed(document: Document) -> Iterator[Finding]:
    """A spec that the new folder or the working tree does not have: its model is gone.

    Whoever generates code from it, or trains it, fails. If it has moved, compare the two files by
    name.
    """
    yield Finding(document.span((), key=True), "this spec is gone")
