"""What the promises under `expect` speak of: the nodes they name, and what tasks read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from homespec.graph import Graph
from homespec.graph.nodes import ExpertSet, Mix, Node
from homespec.lower import Lowered
from homespec.resolve import Resolved


class Tree:
    """The nodes of a task tree by name. Products of tasks are in none and are known by name."""

    def __init__(self, resolved: Resolved) -> None:
        self._nodes = {node.name: node for node in resolved.root.walk()}
        self._tasks = resolved.spec.tasks

    def __contains__(self, name: str) -> bool:
        return name in self._nodes or name in self._tasks

    def below(self, name: str) -> list[str]:
        """A node and all below it."""
        node = self._nodes.get(name)
        return [name] if node is None else [below.name for below in node.walk()]

    def above(self, name: str) -> list[str]:
        """A node and all above it, nearest first."""
        node = self._nodes.get(name)
        return [name] if node is None else [above.name for above in node.path]

    def tasks(self, name: str) -> list[str]:
        """The tasks of a group, or the task itself."""
        return [below for below in self.below(name) if below in self._tasks]


class Read(NamedTuple):
    """An expert set that tasks read."""

    tasks: list[str]
    experts: ExpertSet


class Readers:
    """Which experts each task reads, other than through the states that may pass on anything."""

    def __init__(self, lowered: Lowered, besides: Iterable[str] = ()) -> None:
        self.graph: Graph = lowered.graph
        self.passing_places = [*lowered.spec.expect.except_through, *besides]
        self._sets: dict[str, set[str]] = {}

    @cached_property
    def passing(self) -> set[str]:
        """The states that may pass on anything."""
        return {m.name for m in self.graph.of(Mix) if m.path[0] in self.passing_places}

    @cached_property
    def owners(self) -> dict[str, str]:
        """Names of expert sets with the nodes that own them."""
        return {experts.name: experts.place for experts in self.graph.of(ExpertSet)}

    def sets(self, task: str) -> set[str]:
        """The names of the expert sets that a task reads."""
        if task not in self._sets:
            names = self.graph.ancestors([self.head(task)], self.passing)
            self._sets[task] = names & self.owners.keys()
        return self._sets[task]

    def read(self, tasks: Iterable[str], owners: Iterable[str]) -> Iterator[Read]:
        """The sets of these nodes that any of the tasks reads, with those that do."""
        owners = set(owners)
        by_task = {task: self.sets(task) for task in tasks}
        for experts in self.graph.of(ExpertSet):
            readers = [task for task, sets in by_task.items() if experts.name in sets]
            if readers and experts.place in owners:
                yield Read(readers, experts)

    def way(self, task: str, reads: Iterable[Read]) -> list[Node]:
        """A shortest way from a task back to experts that it reads."""
        return self.graph.way(self.head(task), {r.experts.name for r in reads}, self.passing)

    def head(self, task: str) -> str:
        """The name of the node of a task's logit."""
        return f"towers.{task}" if f"towers.{task}" in self.graph else f"products.{task}"
