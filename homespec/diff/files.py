"""HS697 to HS699: specs that only one of two folders, or commits, has."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding
from homespec.diff.breaks import Breaks
from homespec.diff.pair import change
from homespec.source import Document


@change("HS697", "spec-mended", Breaks.COSMETIC)
def spec_mended(document: Document) -> Iterator[Finding]:
    """A spec whose older version has errors.

    There is no old model to compare with, so the report cannot say what the change breaks.
    """
    yield Finding(
        document.span((), key=True),
        "the older version of this spec has errors, so it is not compared",
    )


@change("HS698", "spec-added", Breaks.COSMETIC)
def spec_added(document: Document) -> Iterator[Finding]:
    """A spec that the old folder or commit does not have; a new model breaks nothing.

    There is nothing to compare it with.
    """
    yield Finding(document.span((), key=True), "this spec is new")


@change("HS699", "spec-removed", Breaks.INTERFACE)
def spec_removed(document: Document) -> Iterator[Finding]:
    """A spec that the new folder or the working tree does not have; its model is gone.

    Anything that compiles or trains it fails. If you moved the file, compare the two files by name.
    """
    yield Finding(document.span((), key=True), "this spec was removed")
