"""Helpers: a document as plain data with the text of each span, and reading by either parser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from homespec.source import Document, composer, parse
from homespec.source.yaml_events import events


@contextmanager
def parser(pure: bool) -> Iterator[None]:
    """Reads with libyaml or in pure Python."""
    with mock.patch.object(composer, "events", lambda text: events(text, pure)):
        yield


def parse_with(pure: bool, text: str) -> Document:
    with parser(pure):
        return parse(text, "x.yaml")


def complaints(document: Document) -> list[tuple[str, int, int, str]]:
    """Name, line, column and message of each diagnostic."""
    return [
        (d.rule.name, d.span.start.line, d.span.start.column, d.message)
        for d in document.diagnostics
    ]


def marked(document: Document) -> list[str]:
    """The characters at which each diagnostic points."""
    starts = document.lines.starts
    texts = []
    for diagnostic in document.diagnostics:
        first, last = diagnostic.span.start, diagnostic.span.end
        start = starts[first.line - 1] + first.column - 1
        texts.append(document.text[start : starts[last.line - 1] + last.column - 1])
    return texts
