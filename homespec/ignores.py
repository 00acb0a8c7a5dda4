"""Ignores: `# homespec: ignore[rule] reason` suppresses warnings and notes.

`ignore-file[rule]` does so for the whole file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from homespec.catalogue import find_rule, nearest_rule
from homespec.checks.ignore_rules import (
    MAX_SHOWN,
    Ignore,
    ignored_error,
    unknown_ignore,
    unused_ignore,
)
from homespec.diagnostics import Diagnostic, Position, Severity, Span
from homespec.source import Comment, Document

IGNORE = re.compile(
    r"#[ \t]*homespec:[ \t]*ignore(?P<file>-file)?[ \t]*\[(?P<rules>[^\]]*)\]", re.IGNORECASE
)
NAME = re.compile(r"[^\s,]+")
COMMENTS = re.compile(r"(?:[ \t]*#[^\r\n]*(?:\r\n|\r|\n))*")
OF_DATA = ("HS5", "HS7")
"""Rules that need data or weights: from the spec alone, it is unknown whether they would report
anything."""
MAX_IGNORES = 200
"""Maximum number of ignores that are processed."""


def apply_ignores(document: Document, diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """The diagnostics without those that the document ignores, and with its faulty ignores.

    An ignore counts as unused only if there is no error, because after an error later stages do not
    run and cannot report warnings. Comments in a file that the document extends also apply, but are
    only checked for use in that file itself. `ignore-file` applies to its own file and to all files
    that this one extends.
    """
    before = list(diagnostics)
    complete = not any(d.rule.severity is Severity.ERROR for d in before)
    own = list(_ignores(document, document.texts))
    about = [d for ignore in own for d in _check(ignore, before, complete)]
    files = [base.file for base in document.bases]
    below = [i for n, base in enumerate(document.bases) for i in _ignores(base, files[n:])]
    return [d for d in before if not _is_ignored(d, [*own, *below])] + about


def _is_ignored(diagnostic: Diagnostic, ignores: list[Ignore]) -> bool:
    if diagnostic.rule.severity is Severity.ERROR:
        return False
    return any(ignore.covers(diagnostic) for ignore in ignores)


def _check(ignore: Ignore, diagnostics: list[Diagnostic], complete: bool) -> list[Diagnostic]:
    """Mistakes in an ignore itself."""
    if ignore.rule is None:
        nearest = nearest_rule(ignore.word[:MAX_SHOWN])
        return unknown_ignore(replace(ignore, nearest=nearest))
    if ignore.rule.severity is Severity.ERROR:
        return ignored_error(ignore)
    if ignore.rule.code.startswith(OF_DATA) or not complete:
        return []
    return [] if any(map(ignore.covers, diagnostics)) else unused_ignore(ignore)


def _ignores(document: Document, files: Iterable[str]) -> Iterator[Ignore]:
    """All ignores of a document, up to a limit.

    `files` are the files that an `ignore-file` covers.
    """
    lines, files = _Lines(document), frozenset(files)
    words = ((c, *word) for c in document.comments[:MAX_IGNORES] for word in _words(c))
    for comment, word, span, is_for_file in islice(words, MAX_IGNORES):
        line = lines.below(comment) if comment.alone else span.start.line
        yield Ignore(word, find_rule(word), span, None if is_for_file else line, files)


def _words(comment: Comment) -> Iterator[tuple[str, Span, bool]]:
    """Each name between the brackets of a comment, its place, and whether it covers the whole file.

    A comment without a name yields one empty name.
    """
    match, start = IGNORE.match(comment.text), comment.span.start
    names = list(NAME.finditer(comment.text, *match.span("rules"))) if match else []
    if match is None or not names:
        yield "", comment.span, False
        return
    for name in names:
        first, last = (Position(start.line, start.column + at) for at in name.span())
        yield name.group(), Span(comment.span.file, first, last), match["file"] is not None


class _Lines:
    """Finds the lines to which comments apply. Processes each block of comments once."""

    def __init__(self, document: Document) -> None:
        self.lines = document.lines
        self.block, self.line = range(0), 0

    def below(self, comment: Comment) -> int:
        """The first line below a comment that is not itself a comment."""
        number = comment.span.start.line + 1
        if number not in self.block:
            starts = self.lines.starts
            if number > len(starts):
                return number
            start = starts[number - 1]
            match = COMMENTS.match(self.lines.text, start)
            self.line = self.lines.position(match.end() if match else start).line
            self.block = range(number, self.line + 1)
        return self.line
