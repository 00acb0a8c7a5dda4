"""The graph: one typed shell over one `networkx.DiGraph` of nodes."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Set
from typing import TYPE_CHECKING, TypeVar, cast

from homespec.diagnostics import Span
from homespec.graph.feature_nodes import Columns, Detached, Feature, Input, Reading
from homespec.graph.nodes import Batch, FeatureGate, Mix, Node, Port, Projection
from homespec.graph.sequences import Sequence

if TYPE_CHECKING:
    import networkx as nx

N = TypeVar("N", bound=Node)


class Graph:
    """Nodes by name over a DiGraph whose edges run from a value's producer to its readers.

    `span` is the whole spec, to which nodes point that no line defines. `tasks` are those that the
    model predicts, in the order of the spec. The graph is `partial` if they are not all tasks of
    the spec, and may be only for `inference`; the features `user` are then given once for all rows.
    networkx is imported only when it is needed: a sound spec is validated without it, in half the
    time.
    """

    def __init__(
        self,
        name: str,
        span: Span,
        nodes: Iterable[Node] = (),
        tasks: tuple[str, ...] = (),
        partial: bool = False,
        inference: bool = False,
        user: tuple[str, ...] = (),
    ) -> None:
        self.name, self.span, self.user = name, span, user
        self.tasks, self.partial, self.inference = tasks, partial, inference
        self._nodes: dict[str, Node] = {}
        for node in nodes:
            self.add(node)

    def add(self, node: Node) -> Port:
        """Add a node whose producers may follow later; return its value."""
        if node.name in self._nodes:
            raise ValueError(f"node {node.name} already exists")
        self._nodes[node.name] = node
        for cached in ("digraph", "_readers", "_ordered", "_by_kind"):
            self.__dict__.pop(cached, None)
        return Port(node.name)

    def with_nodes(self, nodes: Iterable[Node]) -> Graph:
        """A graph with other nodes, of the same spec and for the same purpose."""
        purpose = (self.tasks, self.partial, self.inference, self.user)
        return Graph(self.name, self.span, nodes, *purpose)

    def asked_for(
        self, tasks: tuple[str, ...], inference: bool, user: tuple[str, ...] = ()
    ) -> Graph:
        """The same nodes, to predict these tasks (all if empty), perhaps only for inference.

        The features `user` are then the same for all rows.
        """
        nodes = self._nodes.values()
        return Graph(self.name, self.span, nodes, tasks or self.tasks, bool(tasks), inference, user)

    @functools.cached_property
    def digraph(self) -> nx.DiGraph[str]:
        """The names as a networkx graph. A name without a node is read, but not produced."""
        import networkx as nx

        digraph: nx.DiGraph[str] = nx.DiGraph()
        digraph.add_nodes_from(self._nodes)
        digraph.add_edges_from((p.node, n.name) for n in self._nodes.values() for p in n.reads)
        return digraph

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    def __iter__(self) -> Iterator[Node]:
        """Nodes in dependency order; ties in the order in which they were added."""
        return iter(self._ordered)

    @functools.cached_property
    def _ordered(self) -> list[Node]:
        if self._in_order():
            return list(self._nodes.values())
        import networkx as nx

        position = {name: i for i, name in enumerate(self._nodes)}
        names = nx.lexicographical_topological_sort(self.digraph, position.__getitem__)
        return [self._nodes[name] for name in names]

    def _in_order(self) -> bool:
        """Whether all producers were added before their readers, as lowering does."""
        seen: set[str] = set()
        for node in self._nodes.values():
            if any(port.node not in seen for port in node.reads):
                return False
            seen.add(node.name)
        return True

    def __len__(self) -> int:
        return len(self._nodes)

    def of(self, kind: type[N]) -> list[N]:
        """All nodes of exactly this kind, members of batches included, in dependency order."""
        return cast("list[N]", list(self._by_kind.get(kind, ())))

    @functools.cached_property
    def _by_kind(self) -> dict[type[Node], list[Node]]:
        kinds: dict[type[Node], list[Node]] = {}
        for node in self:
            for member in node.members if isinstance(node, Batch) else (node,):
                kinds.setdefault(type(member), []).append(member)
        return kinds

    def width_of(self, port: Port) -> int:
        """Width of the value of a feature gate, a mixture or the input."""
        node = self[port.node]
        node = node.members[port.member or 0] if isinstance(node, Batch) else node
        assert isinstance(node, Input | Reading | FeatureGate | Mix | Columns | Detached)
        return node.width

    def attached(self, port: Port) -> Port:
        """The value itself where this is one through which no gradient flows."""
        node = self[port.node]
        return self.attached(node.reads[0]) if isinstance(node, Detached) else port

    def features_of(self, node: Columns) -> Iterator[Port]:
        """The features whose columns these are."""
        for port in self[node.reads[0].node].reads:
            feature = self[port.node]
            if isinstance(feature, Feature | Sequence) and feature.short in node.features:
                yield port

    def values(self, ports: Iterable[Port]) -> Iterator[Port]:
        """Values with or without their gradients; columns of v as the features that they are."""
        for port in map(self.attached, ports):
            node = self[port.node]
            if isinstance(node, Columns):
                yield from self.features_of(node)
            else:
                yield port

    def is_projected(self, node: Node) -> bool:
        """Whether a gate, or the router of a feature gate, reads a projection."""
        last = self[node.reads[-1].node] if node.reads else node
        return isinstance(last.members[0] if isinstance(last, Batch) else last, Projection)

    def readers(self, name: str) -> list[Node]:
        """The nodes that read the value of `name`."""
        return self._readers.get(name, [])

    @functools.cached_property
    def _readers(self) -> dict[str, list[Node]]:
        readers: dict[str, list[Node]] = {}
        for node in self._nodes.values():
            for name in dict.fromkeys(port.node for port in node.reads):
                readers.setdefault(name, []).append(node)
        return readers

    def ancestors(
        self, names: Iterable[str], known: Set[str] = frozenset(), detached: bool = True
    ) -> set[str]:
        """These names and those of everything that they depend on, except the `known` ones.

        If a name is known, everything that it depends on must be known. Unless `detached`, only
        what gradients flow back to counts.
        """
        ancestors: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in ancestors and name not in known:
                ancestors.add(name)
                node = self._nodes[name]
                if detached or not isinstance(node, Detached):
                    waiting += [port.node for port in node.reads]
        return ancestors

    def way(self, name: str, goals: Set[str], known: Set[str] = frozenset()) -> list[Node]:
        """A shortest path from `name` back to one of `goals`, including both, around `known` names.

        Empty if there is none.
        """
        before = {name: ""}
        waiting = deque([name])
        while waiting:
            here = waiting.popleft()
            if here in goals:
                way = [here]
                while before[way[-1]]:
                    way.append(before[way[-1]])
                return [self._nodes[step] for step in reversed(way)]
            for port in self._nodes[here].reads:
                if port.node not in before and port.node not in known:
                    before[port.node] = here
                    waiting.append(port.node)
        return []
