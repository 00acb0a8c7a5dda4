"""HS110: mistakes in labels, with their place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from homespec.diagnostics import Finding, Position, Span, rule
from homespec.schema.located_error import LocatedError


@rule("HS110", "bad-label")
def bad_label(error: LocatedError) -> Iterator[Finding]:
    """A label has none of the supported forms.

    A label is a column of 0 and 1, or a test of columns:

    | form | example |
    |---|---|
    | a comparison with a number or a column | `play_time_ms >= duration_ms` |
    | arithmetic of two, on either side | `play_ms / duration_ms >= 0.8` |
    | equal to a text, or not | `status == "Never married"` |
    | among texts or numbers | `country in [US, DE]`, `tab not in [1, 4]` |
    | missing, or there | ``` `buy time` is not null``` |

    Put a column in backticks if its name is not a plain word. A label is parsed, never evaluated as
    code, and it is a single test. To combine several tests, compute a column when you prepare the
    data.
    """
    yield Finding(
        _within(error),
        f"`{error.where}` is not a valid label: {error.message}",
        label="here",
        help=_better_label(str(error.value), error.message),
    )


def _within(error: LocatedError) -> Span:
    """The span of the wrong characters of a text, if its line shows them unescaped."""
    span, at, length = error.span, error.context["at"], error.context["length"]
    begin, end = span.start, span.end
    quotes = (end.column - begin.column - len(str(error.value))) // 2
    if not length or begin.line != end.line or quotes not in (0, 1):
        return span
    if 2 * quotes + len(str(error.value)) != end.column - begin.column:
        return span
    start = Position(begin.line, begin.column + quotes + at)
    return Span(span.file, start, Position(begin.line, start.column + length))


def _better_label(text: str, reason: str) -> str:
    if match := re.search("write (`[^`]+`)", reason):
        return f"write {match[1]}"
    if match := re.fullmatch(r" *([^<>=!]+?) *([=!]=) *([^\W\d]\w*(?: \w+)+) *", text):
        return f'quote the text: `{match[1]} {match[2]} "{match[3]}"`'
    if "cannot follow" in reason and re.fullmatch(r"[\w. ]+", text):
        return f"if that is the name of a column, write it in backticks: '`{text}`'"
    hyphens = re.search(r"[^\W\d]\w*(?:-\w+){2,}", text)
    if "combines two columns" in reason and hyphens:
        return f"if `{hyphens[0]}` is one column, write it in backticks: '`{hyphens[0]}`'"
    return "write a column (`is_like`) or a test of columns (`comment_stay_time > 0`)"
