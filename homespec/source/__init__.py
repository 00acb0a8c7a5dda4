"""Stage 1, source: turns the text of a spec into plain data and the spans of all its parts."""

from homespec.source.document import Comment, Document, Node, Value
from homespec.source.reading import parse, read, read_stream

__all__ = ["Comment", "Document", "Node", "Value", "parse", "read", "read_stream"]
