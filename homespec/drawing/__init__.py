"""Drawings of a graph: text for tests and reviews, mermaid and dot for eyes, JSON for programs."""

from collections.abc import Callable

from homespec.drawing.dot import as_dot
from homespec.drawing.json import as_json
from homespec.drawing.mermaid import as_mermaid
from homespec.drawing.text import as_text
from homespec.graph import Graph

FORMATS: dict[str, Callable[[Graph], str]] = {
    "text": as_text,
    "mermaid": as_mermaid,
    "dot": as_dot,
    "json": as_json,
}
"""How a graph can be drawn, by the name of the format."""

__all__ = ["FORMATS", "as_dot", "as_json", "as_mermaid", "as_text"]
