"""The playground: which lines of a spec the statements of its generated file come from.

The file says so itself, in comments such as `# shorts.yaml:71`; long lists of lines are cut short
there, and completed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from homespec.compiler import Analysis
from homespec.diagnostics import Span
from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature
from homespec.graph.nodes import Batch
from homespec.passes import optimise
from homespec.variant import Variant

COMMENT = re.compile(r"# (?P<file>[^\s:]*):(?P<lines>\d+(?:, \d+)*)(?P<more>, …)?$")


def links(code: str, analysis: Analysis, variant: Variant, file: str) -> list[list[int]]:
    """First and last line of a statement, then of the part of the spec that it comes from."""
    graph = optimise(analysis.graph, variant)
    whole = dict(_cut_short(graph, file))
    ends = _ends(analysis.graph, file)
    text = code.splitlines()
    found = []
    for number, line in enumerate(text):
        comment = COMMENT.search(line)
        if comment and comment["file"] in ("", file):
            shown = [int(each) for each in comment["lines"].split(", ")]
            lines = whole.get(tuple(shown), shown) if comment["more"] else shown
            # a comment of its own is about the statement below it
            first, last = _statement(text, number + line.lstrip().startswith("#"))
            found += [[first + 1, last + 1, each, ends.get(each, each)] for each in lines]
    return found


def _statement(lines: Sequence[str], at: int) -> tuple[int, int]:
    """The lines of the statement that a line belongs to, by its brackets."""
    first = last = at
    while first and sum(map(_opened, lines[first : at + 1])) < 0:
        first -= 1
    while last + 1 < len(lines) and sum(map(_opened, lines[first : last + 1])) > 0:
        last += 1
    return first, last


def _opened(line: str) -> int:
    """How many more brackets a line opens than it closes."""
    return sum(line.count(mark) for mark in "([{") - sum(line.count(mark) for mark in ")]}")


def _cut_short(graph: Graph, file: str) -> Iterator[tuple[tuple[int, ...], list[int]]]:
    """All lines of each batch, by the first six."""
    for node in graph:
        if isinstance(node, Batch):
            spans = (member.span for member in node.members)
            lines = sorted({span.start.line for span in spans if span.file == file})
            yield tuple(lines[:6]), lines


def _ends(graph: Graph, file: str) -> dict[int, int]:
    """The last line of what begins at a line."""
    ends: dict[int, int] = {}
    for node in [*graph, *graph.of(Feature)]:
        if node.span.file == file and node.span != graph.span:
            start = node.span.start.line
            ends[start] = max(_last_line(node.span), ends.get(start, start))
    return ends


def _last_line(span: Span) -> int:
    """That of the last character: a block of YAML ends where the next line begins."""
    return max(span.start.line, span.end.line - (span.end.column == 1))
