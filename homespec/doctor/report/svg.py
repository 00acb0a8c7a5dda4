"""The doctor's report: the SVG shapes of its drawings.

Colours are CSS classes, for light mode, dark mode and print. Every mark has a title with its
numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Maps numbers from `low` to `high` to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a number; numbers out of range are clamped to the ends."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def drawing(
    width: float, height: float, label: str, shapes: Iterable[str], role: str = "img"
) -> str:
    """A drawing with a label for screen readers; with the role `group`, it may contain links."""
    inner = "".join(shapes)
    return (
        f'<svg viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" height="{_n(height)}"'
        f' role="{role}" aria-label="{escape(label)}">{inner}</svg>'
    )


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Text at a position."""
    of_kind = f' class="{kind}"' if kind else ""
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{_n(x)}" y="{_n(y)}"{of_kind}{at}>{escape(words)}</text>'


def rect(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    """A box."""
    return _with_title(
        f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" class="{kind}"',
        "rect", title,
    )  # fmt: skip


def circle(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """A dot."""
    return _with_title(
        f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" class="{kind}"', "circle", title
    )


def line(points: Sequence[Point], kind: str, title: str = "") -> str:
    """A line through points."""
    return _points("polyline", points, kind, title)


def shape(points: Sequence[Point], kind: str, title: str = "") -> str:
    """A closed line through points."""
    return _points("polygon", points, kind, title)


def _points(name: str, points: Sequence[Point], kind: str, title: str) -> str:
    places = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    return _with_title(f'<{name} points="{places}" class="{kind}"', name, title)


def link(start: Point, end: Point, width: float, kind: str, title: str = "") -> str:
    """A curve from left to right, whose width shows the weight that it carries."""
    (x, y), (to_x, to_y), middle = start, end, (start[0] + end[0]) / 2
    way = f"M{_n(x)} {_n(y)}C{_n(middle)} {_n(y)} {_n(middle)} {_n(to_y)} {_n(to_x)} {_n(to_y)}"
    return _with_title(f'<path d="{way}" class="{kind}" stroke-width="{_n(width)}"', "path", title)


def anchor(address: str, label: str, shapes: Iterable[str]) -> str:
    """Shapes that link to a part of the page."""
    return f'<a href="{address}" aria-label="{escape(label)}">{"".join(shapes)}</a>'


def _with_title(start: str, name: str, title: str) -> str:
    return f"{start}><title>{escape(title)}</title></{name}>" if title else f"{start}/>"


def _n(value: float) -> str:
    """A number with at most one digit after the point."""
    return f"{value:.1f}".removesuffix(".0")
