"""The subjects of promises under `expect`: the nodes that they name, and what tasks read."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from homespec.graph.nodes import ExpertSet, Mix, Node
from homespec.lower import Lowered
from homespec.resolve import Resolved


class Tree:
    """The nodes of a task tree by name.

    Products of tasks are not in the tree, but their names are known.
    """

    def __init__(self, resolved: Resolved) -> None:
        self._nodes = {node.name: node for node in resolved.root.walk()}
        self._tasks = resolved.spec.tasks

    def __contains__(self, name: str) -> bool:
        return name in self._nodes or name in self._tasks

    def below(self, name: str) -> list[str]:
        """A node and all nodes below it."""
        node = self._nodes.get(name)
        return [name] if node is None else [below.name for below in node.walk()]

    def above(self, name: str) -> list[str]:
        """A node and all nodes above it, nearest first."""
        node = self._nodes.get(name)
        return [name] if node is None else [above.name for above in node.path]

    def tasks(self, name: str) -> list[str]:
        """The tasks of a group, or the task itself."""
        return [below for below in self.below(name) if below in self._tasks]


class Reads(NamedTuple):
    """Tasks, and expert sets that at least one of them reads; each task reads one or more."""

    tasks: list[str]
    sets: list[ExpertSet]


class Readers:
    """The experts that each task reads, except through states that may pass on anything.

    Sets of experts are numbers with a bit for each: one pass over the graph finds them for all
    nodes, however many tasks there are.
    """

    def __init__(self, lowered: Lowered, besides: Iterable[str] = ()) -> None:
        self._lowered = lowered
        self.graph = lowered.graph
        self.experts = self.graph.of(ExpertSet)
        self.passing_places = [*lowered.spec.expect.except_through, *besides]
        self._letting: dict[tuple[str, ...], Readers] = {}

    def letting(self, places: Iterable[str]) -> Readers:
        """The same, with further nodes whose states may pass on anything."""
        names = tuple(places)
        if names not in self._letting:
            self._letting[names] = Readers(self._lowered, names)
        return self._letting[names]

    @cached_property
    def passing(self) -> set[str]:
        """The states that may pass on anything."""
        return {m.name for m in self.graph.of(Mix) if m.path[0] in self.passing_places}

    @cached_property
    def _bits(self) -> dict[str, int]:
        return {experts.name: 1 << bit for bit, experts in enumerate(self.experts)}

    @cached_property
    def _reached(self) -> dict[str, int]:
        """The expert sets that each node depends on."""
        reached: dict[str, int] = {}
        for node in self.graph:
            sets = self._bits.get(node.name, 0)
            for port in node.reads:
                sets |= reached[port.node]
            reached[node.name] = 0 if node.name in self.passing else sets
        return reached

    @cached_property
    def _owned(self) -> dict[str, int]:
        """The expert sets that each node of the tree owns."""
        owned: dict[str, int] = {}
        for experts in self.experts:
            owned[experts.place] = owned.get(experts.place, 0) | self._bits[experts.name]
        return owned

    def owners(self) -> list[str]:
        """The nodes that own experts."""
        return list(self._owned)

    def reads(self, tasks: Iterable[str], owners: Iterable[str]) -> Reads:
        """The experts of these nodes that these tasks read."""
        all_owned = found = 0
        for owner in owners:
            all_owned |= self._owned.get(owner, 0)
        readers = []
        for task in tasks:
            if sets := self._reached[self.head(task)] & all_owned:
                readers.append(task)
                found |= sets
        return Reads(readers, [e for bit, e in enumerate(self.experts) if found >> bit & 1])

    def does_read(self, task: str, experts: ExpertSet) -> bool:
        """Whether a task reads a set."""
        return bool(self._reached[self.head(task)] & self._bits[experts.name])

    def way(self, task: str, sets: Iterable[ExpertSet]) -> list[Node]:
        """A shortest path from a task back to one of the sets."""
        return self.graph.way(self.head(task), {experts.name for experts in sets}, self.passing)

    def head(self, task: str) -> str:
        """The name of the node that computes a task's logit."""
        return f"towers.{task}" if f"towers.{task}" in self.graph else f"products.{task}"
