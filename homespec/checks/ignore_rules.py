"""HS017 to HS019: checks of comments that ignore warnings and notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from homespec.diagnostics import Diagnostic, Finding, Rule, Severity, Span, rule

MAX_SHOWN = 60
"""Maximum number of characters of an unknown name in a message."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """One name between the brackets of a comment, and the line whose findings it ignores.

    The line belongs to the file that holds the comment; None means the whole of `files`.
    """

    word: str
    rule: Rule | None
    span: Span
    line: int | None
    files: frozenset[str]
    nearest: str | None = None
    """The rule that is probably meant by an unknown name."""

    def covers(self, diagnostic: Diagnostic) -> bool:
        """Whether this ignores `diagnostic`."""
        if diagnostic.rule is not self.rule:
            return False
        if self.line is None:
            return diagnostic.span.file in self.files
        here = (diagnostic.span.file, diagnostic.span.start.line)
        return here == (self.span.file, self.line)


@rule("HS017", "unknown-ignore", Severity.WARNING)
def unknown_ignore(ignore: Ignore) -> Iterator[Finding]:
    """A homespec comment names a rule that does not exist.

    The comment has no effect, although its author expects one. Write `# homespec: ignore[rule-name]
    reason` for one line, or `# homespec: ignore-file[rule-name] reason` for the whole file, with
    the names or codes of rules separated by commas. `homespec explain --all` lists them.

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
    if not ignore.word:
        form = "write `# homespec: ignore[rule-name] reason`"
        yield Finding(ignore.span, "this homespec comment is not understood", help=form)
        return
    word = ignore.word if len(ignore.word) <= MAX_SHOWN else f"{ignore.word[:MAX_SHOWN]}…"
    guess = ignore.nearest
    remedy = f"did you mean `{guess}`?" if guess else "`homespec explain --all` lists the rules"
    yield Finding(ignore.span, f"no rule is called `{word}`", help=remedy)


@rule("HS018", "unused-ignore", Severity.WARNING)
def unused_ignore(ignore: Ignore) -> Iterator[Finding]:
    """A comment ignores a warning or a note that does not occur.

    The spec was fixed, or the comment is on the wrong line. If you leave it there, it hides the
    warning when it comes back. A comment applies to its own line or, if it is alone on its line, to
    the line below. `ignore-file[…]` applies to the whole file and to the files that it extends.
    Delete the comment or move it to the line of the warning.

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
    assert ignore.rule is not None
    severity = ignore.rule.severity
    where = "this file" if ignore.line is None else f"line {ignore.line}"
    yield Finding(
        ignore.span,
        f"{where} has no {severity} `{ignore.rule.name}` to ignore",
        help="delete the comment"
        + ("" if ignore.line is None else f", or move it to the line of the {severity}"),
    )


@rule("HS019", "ignored-error", Severity.WARNING)
def ignored_error(ignore: Ignore) -> Iterator[Finding]:
    """A comment tries to ignore an error.

    Warnings and notes are advice, and you can decline them. A spec with an error has no meaning
    that could be compiled, so the error stays. Fix it and delete the comment.

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
    assert ignore.rule is not None
    yield Finding(
        ignore.span,
        f"`{ignore.rule.name}` is an error and cannot be ignored",
        help="fix the error and delete the comment",
    )
