"""Drawings of a graph: text for tests and reviews, mermaid and dot for people, JSON for code."""

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
"""The functions that draw a graph, by format."""

__all__ = ["FORMATS", "as_dot", "as_json", "as_mermaid", "as_text"]
