"""The doctor's report: positions of the parts of a model in its drawing.

Rows are nodes of the task tree, one below the other as in a list of files. Columns are layers, from
the input to the towers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from homespec.doctor.report.svg import Point
from homespec.drawing.boxes import Arrow, picture
from homespec.graph.feature_nodes import INPUT
from homespec.graph.nodes import ExpertSet, FeatureGate, Mix, Product, Tower
from homespec.lower import Lowered

SQUARE = 16
"""Side of the square of an expert, including the space to the next one."""
ROW, LINE = 26, 20
"""Heights of a row with one line, and of each further line."""
HEAD = 26
SPACE = {"before": 42, "mix": 120, "after": 52}
"""Widths of the space before the experts of a layer, between experts and gates, and after gates."""
INDENT, LETTER = 14, 7.4
MARK = 22
"""Width of the number of a finding."""
QUALITY = 80
"""Width of the AUC of a task."""


@dataclass(frozen=True)
class Row:
    """A node of the task tree, or a product of tasks."""

    name: str
    depth: int
    above: float
    """Its upper edge."""
    height: float

    @property
    def middle(self) -> float:
        """The vertical position of the node's parts."""
        return self.above + self.height / 2


class Layout:
    """The positions of all parts."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered, self.graph = lowered, lowered.graph
        self.sets = tuple(self.graph.of(ExpertSet))
        self.set_named = {node.name: node for node in self.sets}
        self.states = tuple(self.graph.of(Mix))
        self.gated = {(n.place, n.layer) for n in self.graph.of(FeatureGate)}
        ends: tuple[Tower | Product, ...] = (*self.graph.of(Tower), *self.graph.of(Product))
        self.ends = ends
        self.layers = tuple(dict.fromkeys(node.layer for node in (*self.sets, *self.states)))
        self.per_line = max((min(6, node.count) for node in self.sets), default=1)

    @cached_property
    def rows(self) -> dict[str, Row]:
        """The rows by name, in order from the root."""
        rows: dict[str, Row] = {}
        above = float(HEAD)
        for name, depth in self._names():
            height = ROW + LINE * (self._lines(name) - 1)
            rows[name] = Row(name, depth, above, height)
            above += height
        return rows

    def _names(self) -> Iterator[tuple[str, int]]:
        for node in self.lowered.root.walk():
            yield node.name, node.depth
        yield from ((node.task, 1) for node in self.graph.of(Product))

    def _lines(self, name: str) -> int:
        """Number of lines for the node's experts or states, in the layer that has the most."""
        experts = (-(-node.count // self.per_line) for node in self.sets if node.path[0] == name)
        states = (len(self._states_at(name, layer)) for layer in self.layers)
        return max((1, *experts, *states))

    def _states_at(self, name: str, layer: str) -> list[str]:
        return [n.name for n in self.states if n.path[0] == name and n.layer == layer]

    @property
    def height(self) -> float:
        """Height of the drawing."""
        last = list(self.rows.values())[-1]
        return last.above + last.height + 6

    @property
    def width(self) -> float:
        """Width of the drawing, without the names of the rows."""
        return self.quality_x + QUALITY

    # ------------------------------------------------------------ columns

    def left(self, layer: str) -> float:
        """Left edge of a layer."""
        each = self.per_line * SQUARE + sum(SPACE.values())
        return 14 + self.layers.index(layer) * each

    def experts_x(self, layer: str) -> float:
        """Left edge of the experts of a layer."""
        return self.left(layer) + SPACE["before"]

    def sets_end(self, layer: str) -> float:
        """Right edge of the experts of a layer."""
        return self.experts_x(layer) + self.per_line * SQUARE

    def gates_x(self, layer: str) -> float:
        """Position of the gates of a layer."""
        return self.sets_end(layer) + SPACE["mix"]

    @property
    def towers_x(self) -> float:
        """Position of the towers."""
        return self.gates_x(self.layers[-1]) + SPACE["after"]

    @property
    def quality_x(self) -> float:
        """Position of the AUC of tasks."""
        longest = max(len(node.task) for node in self.ends)
        return self.towers_x + SQUARE + MARK + LETTER * longest + 8

    # ------------------------------------------------------------ parts

    def squares(self, node: ExpertSet) -> Iterator[Point]:
        """The upper left corners of the experts of a set. Lines are filled from the right."""
        lines = -(-node.count // self.per_line)
        above = self.rows[node.path[0]].middle - lines * LINE / 2 + 2
        for index in range(node.count):
            line, place = divmod(index, self.per_line)
            of_line = min(self.per_line, node.count - line * self.per_line)
            x = self.sets_end(node.layer) - (of_line - place) * SQUARE
            yield x, above + line * LINE

    def set_starts(self, node: ExpertSet) -> Point:
        """Left edge of a set."""
        least = self.sets_end(node.layer) - min(node.count, self.per_line) * SQUARE
        return least, self.rows[node.path[0]].middle

    def set_ends(self, node: ExpertSet) -> Point:
        """Right edge of a set."""
        return self.sets_end(node.layer), self.rows[node.path[0]].middle

    def state(self, node: Mix) -> Point:
        """Position of a state and its gate."""
        here = self._states_at(node.path[0], node.layer)
        offset = (here.index(node.name) - (len(here) - 1) / 2) * LINE
        return self.gates_x(node.layer), self.rows[node.path[0]].middle + offset

    def end(self, node: Tower | Product) -> Point:
        """Position of a tower."""
        return self.towers_x, self.rows[node.task].middle

    def has_feature_gate(self, node: ExpertSet) -> bool:
        """Whether a set has a feature gate."""
        return (node.place, node.layer) in self.gated

    def feeds(self) -> Iterator[tuple[Point, Point]]:
        """Links to the sets of experts and towers from what each of them reads."""
        for arrow in picture(self.graph).arrows:
            if not arrow.weak and (ends := self._ends(arrow)):
                yield ends

    def _ends(self, arrow: Arrow) -> tuple[Point, Point] | None:
        start, end = self.graph[arrow.start], self.graph[arrow.end]
        if isinstance(end, ExpertSet):
            x, y = self.set_starts(end)
            to = (x - SQUARE * (1.5 if self.has_feature_gate(end) else 0.25), y)
        elif isinstance(end, Tower):
            to = self.end(end)
        else:
            return None
        if isinstance(start, Mix):
            return self.state(start), to
        return ((6.0, to[1]), to) if arrow.start == INPUT else None
