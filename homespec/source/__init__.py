"""Stage 1, source: turns the text of a spec into plain data and the spans of all its parts."""

from homespec.source.compose import compose, read_spec, with_provenance
from homespec.source.document import FLAG, Comment, Document, Node, Value
from homespec.source.flags import check_flag
from homespec.source.reading import parse, read, read_stream

__all__ = [
    "FLAG",
    "Comment",
    "Document",
    "Node",
    "Value",
    "check_flag",
    "compose",
    "parse",
    "read",
    "read_spec",
    "read_stream",
    "with_provenance",
]
