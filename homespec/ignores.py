"""Diagnostics: `# homespec: ignore[rule] reason` takes warnings and notes back.

`ignore-file[rule]` does so for the whole file. Ignores are checked themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from homespec.catalogue import find_rule, nearest_rule
from homespec.diagnostics.diagnostic import Diagnostic, Finding, Position, Severity, Span
from homespec.diagnostics.registry import Rule, rule

if TYPE_CHECKING:
    from homespec.source import Comment, Document

IGNORE = re.compile(
    r"#[ \t]*homespec:[ \t]*ignore(?P<file>-file)?[ \t]*\[(?P<rules>[^\]]*)\]", re.IGNORECASE
)
NAME = re.compile(r"[^\s,]+")
COMMENTS = re.compile(r"(?:[ \t]*#[^\r\n]*(?:\r\n|\r|\n))*")
OF_DATA = "HS5"
"""Rules that look at data, not at specs alone: whether they have something to say is not known."""
MOST = 200
"""So many ignores are looked at."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """One name between the brackets of a comment, and the line whose findings it takes back.

    The line is one of the file in which the comment stands; None for the whole of `files`.
    """

    word: str
    rule: Rule | None
    span: Span
    line: int | None
    files: frozenset[str]

    def covers(self, diagnostic: Diagnostic) -> bool:
        """Whether this takes `diagnostic` back."""
        if diagnostic.rule is not self.rule:
            return False
        if self.line is None:
            return diagnostic.span.file in self.files
        here = (diagnostic.span.file, diagnostic.span.start.line)
        return here == (self.span.file, self.line)


def apply_ignores(document: Document, diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """`diagnostics` without those that the document ignores, and with its wrong ignores.

    An ignore counts as unused only if there is no error: an error keeps later stages from
    running, and their warnings from being found. Comments in a file that the document extends hold,
    too; whether they are of use is a matter of that file alone. `ignore-file` holds for its own
    file and for all that this one extends.
    """
    left = list(diagnostics)
    found: list[Diagnostic] = []
    complete = not any(d.rule.severity is Severity.ERROR for d in left)
    own = list(_ignores(document, document.texts))
    for ignore in own:
        found += _check(ignore, left, complete)
    for comment in document.comments[:MOST]:
        if not any(_words(comment)):
            found += unknown_ignore(comment.span, "")
    files = [base.file for base in document.bases]
    below = [i for n, base in enumerate(document.bases) for i in _ignores(base, files[n:])]
    return [d for d in left if not _is_ignored(d, [*own, *below])] + found


def _is_ignored(diagnostic: Diagnostic, ignores: list[Ignore]) -> bool:
    if diagnostic.rule.severity is Severity.ERROR:
        return False
    return any(ignore.covers(diagnostic) for ignore in ignores)


def _check(ignore: Ignore, diagnostics: list[Diagnostic], complete: bool) -> list[Diagnostic]:
    """What is wrong with an ignore itself."""
    if ignore.rule is None:
        return unknown_ignore(ignore.span, ignore.word)
    if ignore.rule.severity is Severity.ERROR:
        return ignored_error(ignore.span, ignore.rule)
    if ignore.rule.code.startswith(OF_DATA):
        return []
    if complete and not any(map(ignore.covers, diagnostics)):
        where = "this file" if ignore.line is None else f"line {ignore.line}"
        return unused_ignore(ignore.span, ignore.rule, where)
    return []


def _ignores(document: Document, files: Iterable[str]) -> Iterator[Ignore]:
    """All that a document ignores; who writes hundreds of them has another problem.

    `files` are those for which `ignore-file` speaks.
    """
    lines = _Lines(document)
    words = (word for comment in document.comments[:MOST] for word in _words(comment))
    for comment, name, whole in islice(words, MOST):
        line = lines.below(comment) if comment.alone else comment.span.start.line
        start = comment.span.start
        first = Position(start.line, start.column + name.start())
        last = Position(start.line, start.column + name.end())
        span = Span(document.file, first, last)
        rule = find_rule(name.group())
        yield Ignore(name.group(), rule, span, None if whole else line, frozenset(files))


def _words(comment: Comment) -> Iterator[tuple[Comment, re.Match[str], bool]]:
    """The comment, each name between its brackets, and whether it speaks for the whole file."""
    match = IGNORE.match(comment.text)
    if match:
        for name in NAME.finditer(comment.text, *match.span("rules")):
            yield comment, name, match["file"] is not None


class _Lines:
    """Finds the lines that comments speak of; looks at each block of comments once."""

    def __init__(self, document: Document) -> None:
        self.lines = document.lines
        self.block, self.line = range(0), 0

    def below(self, comment: Comment) -> int:
        """The first line below a comment that is no comment itself."""
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


@rule("HS017", "unknown-ignore", Severity.WARNING)
def unknown_ignore(span: Span, word: str) -> Iterator[Finding]:
    """A comment for homespec names no rule that exists.

    It takes nothing back, though whoever wrote it thinks so. The form is
    `# homespec: ignore[rule-name] reason` for one line, or `# homespec: ignore-file[rule-name]
    reason` for the whole file, with names or codes of rules, separated by commas;
    `homespec explain --all` lists them.

    Bad:

    ```yaml
    tasks:
      follow: {}  # homespec: ignore[group-of-on-task] launched last week
    ```

    Good:

    ```yaml
    tasks:
      follow: {}  # homespec: ignore[one-task-group] launched last week
    ```
    """
    if not word:
        form = "write `# homespec: ignore[rule-name] reason`"
        yield Finding(span, "this comment for homespec is not understood", help=form)
        return
    word = word if len(word) <= 60 else f"{word[:60]}…"
    guess = nearest_rule(word)
    remedy = f"did you mean `{guess}`?" if guess else "`homespec explain --all` lists the rules"
    yield Finding(span, f"there is no rule `{word}` to ignore", help=remedy)


@rule("HS018", "unused-ignore", Severity.WARNING)
def unused_ignore(span: Span, ignored: Rule, where: str) -> Iterator[Finding]:
    """A comment ignores a warning or a note that is not there.

    The spec was mended, or the comment is in the wrong line. Left there, it would hide the warning
    when it comes back. A comment counts for its own line or, alone in its line, for the line below.
    `ignore-file[…]` counts for the whole file and for what the file extends. Delete the comment or
    move it to the line of the warning.

    Bad, if the line gives no such warning:

    ```yaml
    groups:
      watch: [long_view, finish]  # homespec: ignore[one-task-group]
    ```

    Good:

    ```yaml
    groups:
      watch: [long_view, finish]
    ```
    """
    yield Finding(
        span,
        f"{where} has no {ignored.severity} `{ignored.name}` to ignore",
        help="delete the comment"
        + (f", or move it to the line of the {ignored.severity}" if "line" in where else ""),
    )


@rule("HS019", "ignored-error", Severity.WARNING)
def ignored_error(span: Span, ignored: Rule) -> Iterator[Finding]:
    """A comment tries to ignore an error.

    Warnings and notes are advice and can be declined; after an error there is no meaning of the
    spec that could be compiled. The error stays. Mend it and delete the comment.

    Bad:

    ```yaml
    groups:
      watch: [finihs]  # homespec: ignore[unknown-member]
    ```

    Good:

    ```yaml
    groups:
      watch: [finish]
    ```
    """
    yield Finding(
        span,
        f"`{ignored.name}` is an error and cannot be ignored",
        help="mend the error and delete the comment",
    )
