"""The playground: which lines of a spec the lines of its generated file come from.

The file says so itself, in comments such as `# shorts.yaml:71`; long lists of lines are cut short
there, and completed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from homespec.compiler import Analysis
from homespec.graph.nodes import Batch
from homespec.passes import optimise
from homespec.variant import Variant

COMMENT = re.compile(r"# (?P<file>[^\s:]*):(?P<lines>\d+(?:, \d+)*)(?P<more>, …)?$")


def links(code: str, analysis: Analysis, variant: Variant, file: str) -> list[list[int]]:
    """Pairs of a line of the generated file and one of the spec, both counted from 1."""
    whole = dict(_cut_short(analysis, variant, file))
    found = []
    for number, line in enumerate(code.splitlines(), 1):
        comment = COMMENT.search(line)
        if comment and comment["file"] in ("", file):
            shown = [int(each) for each in comment["lines"].split(", ")]
            lines = whole.get(tuple(shown), shown) if comment["more"] else shown
            # a comment of its own is about the statement below it
            place = number + 1 if line.lstrip().startswith("#") else number
            found += [[place, each] for each in lines]
    return found


def _cut_short(
    analysis: Analysis, variant: Variant, file: str
) -> Iterator[tuple[tuple[int, ...], list[int]]]:
    """All lines of each batch, by the first six."""
    for node in optimise(analysis.graph, variant):
        if isinstance(node, Batch):
            spans = (member.span for member in node.members)
            lines = sorted({span.start.line for span in spans if span.file == file})
            yield tuple(lines[:6]), lines
