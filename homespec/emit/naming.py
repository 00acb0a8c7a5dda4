"""Stage 7, emit: names of the variables and modules of an optimised file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from homespec.emit.block import Joined
from homespec.emit.layout import Expr, literal, sequence
from homespec.graph import Graph
from homespec.graph.feature_nodes import Columns, Input, Reading
from homespec.graph.nodes import (
    Batch,
    ExpertSet,
    FeatureGate,
    FusedFeatureGate,
    Gate,
    Mix,
    Node,
    Placed,
    Port,
    Projection,
    SelfGate,
    Tower,
)

N = TypeVar("N", bound=Node)
MODULES: dict[type[Node], str] = {
    Projection: "projections",
    FeatureGate: "feature_gates",
    FusedFeatureGate: "feature_gates",
    ExpertSet: "experts",
    Gate: "gates",
    SelfGate: "self_gates",
    Tower: "towers",
}
"""The attributes that hold the modules of each kind of node."""
VARIABLES: dict[type[Node], str] = {
    FeatureGate: "gated",
    FusedFeatureGate: "gated",
    ExpertSet: "e",
    Gate: "gate",
    SelfGate: "self_gate",
    Mix: "z",
    Tower: "y",
}
"""The variables that hold the values of each kind of node."""


RUN = 3
"""Minimum number of tasks that are written as a slice of TASKS."""


def members_of(batch: Batch, kind: type[N]) -> tuple[list[N], N]:
    """The members, known to be of one kind, and the first of them."""
    members = [m for m in batch.members if isinstance(m, kind)]
    return members, members[0]


def once(where: str, names: Iterable[str]) -> None:
    """Raise AssertionError for duplicate names."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise AssertionError(f"{where} {', '.join(twice)} would be set twice")


class Naming:
    """Derives names from nodes: their kind, layer and places in the task tree."""

    def __init__(self, graph: Graph) -> None:
        """For the nodes of an optimised graph."""
        self.graph, self.tasks = graph, graph.tasks
        batches = [node for node in graph if isinstance(node, Batch)]
        self.placed = {
            m.name: m for batch in batches for m in batch.members if isinstance(m, Placed)
        }
        self.counts: set[int] = set()
        """The numbers of logical names that nodes have in calls of `named`."""
        self.paths = False
        """Whether a name ends in `path`."""
        self.ranges = False
        """Whether a name is like `a_to_b`."""
        self.by_place = {
            node.place: node
            for node in self.placed.values()
            if not isinstance(node, Projection | Reading)
        }
        self.words = {_word(m) for b in batches for m in b.members if isinstance(m, Placed | Tower)}
        self.several = Counter(map(_kind, batches))
        self.sections = self._sections(batches)
        self.any_down = any(
            len({section.purpose == "down" for section in node.sections}) > 1
            for node in graph.of(Projection)
        )
        self.levels: dict[int, set[str]] = {}
        for node in self.by_place.values():
            self.levels.setdefault(node.level, set()).add(node.place)

    def _sections(self, batches: list[Batch]) -> Counter[tuple[str, str]]:
        """Number of variables of projections, by purpose and the layer that reads them."""
        firsts = (b.members[0] for b in batches)
        sections = (s for node in firsts if isinstance(node, Projection) for s in node.sections)
        return Counter((s.purpose, self.placed[s.nodes[0]].layer) for s in sections)

    def consumers(self, batch: Batch, section: int) -> list[Placed]:
        """The nodes that read a section of a batch of projections, in their order there."""
        members, _ = members_of(batch, Projection)
        return [self.placed[name] for m in members for name in m.sections[section].nodes]

    def tuples(self, batch: Batch) -> list[tuple[str, ...]]:
        """The places whose logical names a batch needs."""
        first = batch.members[0]
        if isinstance(batch, Joined):
            return []
        if isinstance(first, Projection):
            sections = range(len(first.sections))
            return [places_of(self.consumers(batch, i)) for i in sections]
        if isinstance(first, Mix) or (self.graph.is_projected(batch) and isinstance(first, Gate)):
            return []
        return [places_of(batch.members)]

    def suffix(self, batch: Batch) -> str:
        """Distinguishes batches of one kind and layer; "" if there is only one."""
        return f"_{self.label(batch.members)}" if self.several[_kind(batch)] > 1 else ""

    def module(self, batch: Batch) -> str:
        """The attribute of the layer that holds a batch's module: `experts_watch`."""
        return MODULES[type(batch.members[0])] + self.suffix(batch)

    def label(self, members: Iterable[Node]) -> str:
        """A name for several nodes: `watch`, `groups`, `tasks`, or `click_to_like`."""
        nodes = list(members)
        if isinstance(nodes[0], Projection):
            return self._label_of_reads([m.reads for m in nodes])
        if all(isinstance(m, Reading) and len(m.path) > 1 for m in nodes):
            self.paths = True
            bare = (replace(m, place=m.path[0]) for m in nodes if isinstance(m, Reading))
            return f"{self.label(bare)}_path"
        first, last = _word(nodes[0]), _word(nodes[-1])
        if len(nodes) == 1:
            return first
        label = self._whole_level(nodes) or self._all_children(nodes)
        if not label:
            label = f"{first}_to_{last}"
            self.ranges = True
        while label in self.words:  # a node may itself be called `tasks`
            label += "_"
        return label

    def _label_of_reads(self, reads: list[tuple[Port, ...]]) -> str:
        """The name of projections: that of the states that they read, the nearest of a path."""
        ports = [self.graph.attached(port) for port, *_ in reads]
        nearest = [self.graph[port.node] for port in ports]
        if any(isinstance(node, Columns) for node in nearest):
            return "features"
        states = [
            node.members[port.member or 0] if isinstance(node, Batch) else node
            for node, port in zip(nearest, ports, strict=True)
        ]
        if any(isinstance(node, Input) for node in states):
            return "x"
        if len(reads[0]) == 1:
            return self.label(states)
        self.paths = True
        return f"{self.label(states)}_path"

    def _whole_level(self, nodes: list[Node]) -> str:
        places = {m.place for m in nodes if isinstance(m, Placed)}
        if places == set(self.tasks) or all(isinstance(m, Tower) for m in nodes):
            return "tasks" if len(nodes) == len(self.tasks) else ""
        levels = {m.level for m in nodes if isinstance(m, Placed)}
        if len(levels) > 1 or places != self.levels.get(min(levels)) or levels == {0}:
            return ""
        groups = [level for level, found in self.levels.items() if level and not self._tasks(found)]
        if len(groups) == 1:
            return "groups"
        return self._all_children(nodes) or f"groups_{min(levels)}"

    def _all_children(self, nodes: list[Node]) -> str:
        """`watch_tasks` for all tasks, `watch_groups` for all groups directly below one node."""
        placed = [self.by_place[place] for place in places_of(nodes) if place in self.by_place]
        above = {(node.parent, node.level) for node in placed}
        if len(placed) < len(nodes) or len(above) > 1:
            return ""
        ((parent, level),) = above
        places = {node.place for node in placed}
        siblings = {
            node.place
            for node in self.by_place.values()
            if (node.parent, node.level) == (parent, level)
        }
        if not parent or places != siblings or any(len(node.path) > 1 for node in placed):
            return ""
        return f"{parent}_{'tasks' if self._tasks(places) else 'groups'}"

    def _tasks(self, places: set[str]) -> bool:
        return places <= set(self.tasks)

    def is_run_of_tasks(self, places: Sequence[str]) -> bool:
        """Whether places are TASKS, or a sufficiently long slice of it."""
        return tuple(places) == self.tasks or self._run(places, 0) == len(places) >= RUN

    def nodes(self, places: Sequence[str]) -> Expr:
        """A tuple of places; long runs of tasks as slices of TASKS."""
        if tuple(places) == self.tasks:
            return "TASKS"
        parts: list[Expr] = []
        index = 0
        while index < len(places):
            run = self._run(places, index)
            if run < RUN:
                parts.append(literal(places[index]))
                index += 1
                continue
            start = self.tasks.index(places[index])
            part = f"TASKS[{start or ''}:{start + run if start + run < len(self.tasks) else ''}]"
            if run == len(places):
                return part
            parts.append(f"*{'TASKS' if run == len(self.tasks) else part}")
            index += run
        return sequence(parts)

    def _run(self, places: Sequence[str], index: int) -> int:
        """Number of places, from `index`, that are consecutive in TASKS."""
        if places[index] not in self.tasks:
            return 0
        start = self.tasks.index(places[index])
        run = 0
        for place, task in zip(places[index:], self.tasks[start:], strict=False):
            if place != task:
                break
            run += 1
        return run


def places_of(members: Iterable[Node]) -> tuple[str, ...]:
    """The places of the members in the task tree."""
    return tuple(
        m.place if isinstance(m, Placed) else m.task if isinstance(m, Tower) else m.name
        for m in members
    )


def _kind(batch: Batch) -> tuple[str, str]:
    first = batch.members[0]
    layer = first.layer if isinstance(first, Placed) else ""
    return (VARIABLES.get(type(first), type(first).kind), layer)


def _word(node: Node) -> str:
    if isinstance(node, Placed):
        return node.identifier
    assert isinstance(node, Tower)
    return node.task
