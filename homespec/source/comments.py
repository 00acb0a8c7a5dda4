"""Stage 1, source: finds comments for homespec, which PyYAML drops.

A `#` inside a scalar does not begin a comment.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice

from homespec.source.document import Comment
from homespec.source.lines import LINE_BREAK, Lines

COMMENT = re.compile(r"(?:^|(?<=[\s#]))#[ \t]*homespec:[^\r\n]*", re.MULTILINE | re.IGNORECASE)
MAX_COMMENTS = 1000


def comments(lines: Lines, scalars: Sequence[tuple[int, int]]) -> Iterator[Comment]:
    """The comments `# homespec: ...` of a text; `scalars` are the offsets of all its scalars."""
    starts = [start for start, _ in scalars]
    for match in islice(COMMENT.finditer(lines.text), MAX_COMMENTS):
        at = bisect_right(starts, match.start()) - 1
        if at >= 0 and _content_start(lines.text, *scalars[at]) <= match.start() < scalars[at][1]:
            continue
        before = lines.text[lines.start_of_line(match.start()) : match.start()].strip()
        span = lines.span(match.start(), match.end())
        yield Comment(span, match.group(), alone=not before or before[0] == "#")


def _content_start(text: str, start: int, end: int) -> int:
    """The offset at which a scalar's content begins: the first line of a block may have a
    comment."""
    if text[start] not in "|>":
        return start
    line_break = LINE_BREAK.search(text, start, end)
    return line_break.end() if line_break else end
