"""A batching pass that is switched off: each node becomes a batch of its own.

before:  experts.meta.shared, experts.meta.watch          (two nodes of equal shape)
after:   experts_meta_shared = Batch(experts.meta.shared)
         experts_meta_watch = Batch(experts.meta.watch)

Emission writes batches, and a batch of one is one: no node needs a form of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from homespec.graph import Graph
from homespec.graph.nodes import Batch, Feature, Node, Placed, Port, batch_of


def singletons(run: Callable[[Graph], Graph]) -> Callable[[Graph], Graph]:
    """The pass `run`, with each of its batches taken apart into batches of one member."""

    def taken_apart(graph: Graph) -> Graph:
        batched = run(graph)
        new = {
            node.name: node
            for node in batched
            if isinstance(node, Batch) and node.name not in graph and len(node.members) > 1
        }
        return _split(batched, new)

    return taken_apart


def _split(graph: Graph, batches: dict[str, Batch]) -> Graph:
    names = {
        Port(batch.name, index): _name(member)
        for batch in batches.values()
        for index, member in enumerate(batch.members)
    }

    def move(port: Port) -> Port:
        return Port(names[port], 0) if port in names else port

    def nodes() -> Iterator[Node]:
        for node in graph:
            if node.name not in batches:
                yield node
                continue
            for member in batches[node.name].members:
                yield batch_of(_name(member), (member,))

    return Graph(graph.name, graph.span, [node.renamed(move) for node in nodes()])


def _name(member: Node) -> str:
    """The name of a batch of one: `experts_meta_watch`, `towers_like`, `table_16_user_id`.

    No other batch has it: names of layers have no underscores.
    """
    kind, _, own = member.name.partition(".")
    if isinstance(member, Placed):
        return f"{kind}_{member.layer}_{member.identifier}"
    if isinstance(member, Feature):
        sequence, dot, field = own.partition(".")
        own = f"{len(sequence)}_{sequence}_{field}" if dot else own  # names begin with letters
        return f"table_{member.width}_{own}"
    return f"{kind}_{own}"
