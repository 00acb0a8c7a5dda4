"""Stage 1, source: turns the text of a spec into plain data and the spans of all its parts."""

from homespec.source.document import OVERRIDES, Comment, Document, Node, Value
from homespec.source.extends import read_spec, with_bases, with_provenance
from homespec.source.overrides import check_override
from homespec.source.reader import parse, read, read_stream

__all__ = [
    "OVERRIDES",
    "Comment",
    "Document",
    "Node",
    "Value",
    "check_override",
    "parse",
    "read",
    "read_spec",
    "read_stream",
    "with_bases",
    "with_provenance",
]
