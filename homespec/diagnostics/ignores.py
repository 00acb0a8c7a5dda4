"""Diagnostics: `# homespec: ignore[rule] reason` takes warnings back, and is checked itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from homespec.diagnostics.catalogue import find_rule, nearest_rule
from homespec.diagnostics.model import Diagnostic, Finding, Position, Severity, Span
from homespec.diagnostics.registry import Rule, rule

if TYPE_CHECKING:
    from homespec.source import Comment, Document

IGNORE = re.compile(r"#[ \t]*homespec:[ \t]*ignore[ \t]*\[([^\]]*)\]", re.IGNORECASE)
NAME = re.compile(r"[^\s,]+")
COMMENTS = re.compile(r"(?:[ \t]*#[^\r\n]*(?:\r\n|\r|\n))*")
OF_DATA = "HS5"
"""Rules that look at data, not at specs alone: whether they have something to say is not known."""
MOST = 200
"""So many ignores are looked at."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """One name between the brackets of a comment, and the line whose warnings it takes back.

    The line is one of the file in which the comment stands.
    """

    word: str
    rule: Rule | None
    span: Span
    line: int

    @property
    def place(self) -> tuple[str, int]:
        """The file and the line."""
        return self.span.file, self.line

    def covers(self, diagnostic: Diagnostic) -> bool:
        """Whether this takes `diagnostic` back."""
        start = diagnostic.span.start.line
        return diagnostic.rule is self.rule and (diagnostic.span.file, start) == self.place


def apply_ignores(document: Document, diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """`diagnostics` without the warnings that the document ignores, and with its wrong ignores.

    An ignore counts as unused only if there is no error: an error keeps later stages from
    running, and their warnings from being found. Comments in a file that the document extends hold,
    too; whether they are of use is a matter of that file alone.
    """
    left = list(diagnostics)
    found: list[Diagnostic] = []
    complete = not any(d.rule.severity is Severity.ERROR for d in left)
    own = list(_ignores(document))
    for ignore in own:
        found += _check(ignore, left, complete)
    for comment in document.comments[:MOST]:
        if not any(_words(comment)):
            found += unknown_ignore(comment.span, "")
    below = [ignore for base in document.bases for ignore in _ignores(base)]
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
        return unused_ignore(ignore.span, ignore.rule, ignore.line)
    return []


def _ignores(document: Document) -> Iterator[Ignore]:
    """All that a document ignores; who writes hundreds of them has another problem."""
    lines = _Lines(document)
    words = (word for comment in document.comments[:MOST] for word in _words(comment))
    for comment, name in islice(words, MOST):
        line = lines.below(comment) if comment.alone else comment.span.start.line
        start = comment.span.start
        first = Position(start.line, start.column + name.start())
        last = Position(start.line, start.column + name.end())
        span = Span(document.file, first, last)
        yield Ignore(name.group(), find_rule(name.group()), span, line)


def _words(comment: Comment) -> Iterator[tuple[Comment, re.Match[str]]]:
    match = IGNORE.match(comment.text)
    if match:
        for name in NAME.finditer(comment.text, match.start(1), match.end(1)):
            yield comment, name


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
    `# homespec: ignore[rule-name] reason`, with names or codes of rules, separated by commas;
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
def unused_ignore(span: Span, ignored: Rule, line: int) -> Iterator[Finding]:
    """A comment ignores a warning that is not there.

    The spec was mended, or the comment stands in the wrong line. Left behind, it would hide
    the warning when it comes back. A comment counts for its own line or, standing alone, for
    the line below. Delete it or move it to the line of the warning.

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
        f"line {line} has no warning `{ignored.name}` to ignore",
        help="delete the comment, or move it to the line of the warning",
    )


@rule("HS019", "ignored-error", Severity.WARNING)
def ignored_error(span: Span, ignored: Rule) -> Iterator[Finding]:
    """A comment tries to ignore an error.

    Warnings are advice and can be declined; behind an error there is no meaning of the spec
    that could be compiled. The error stays. Mend it and delete the comment.

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
