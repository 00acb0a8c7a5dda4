"""Stage 7, emit: joins projections that differ in the number of nodes that read them.

before:  projections.task.watch (for 8 tasks), projections.task.likes (for 12)
after:   one module for both; its parts are those of `watch`, then those of `likes`
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from homespec.emit.block import Joined
from homespec.emit.scope import follows
from homespec.graph import Graph
from homespec.graph.nodes import Batch, Node, Port, Projection


def join_projections(graph: Graph) -> Graph:
    """Join batches whose projections read consecutive members of a value for the same purposes."""
    alike: dict[Hashable, list[Batch]] = {}
    for node in graph:
        if isinstance(node, Batch) and (key := _key(node, graph)):
            alike.setdefault(key, []).append(node)
    joined: dict[str, Joined] = {}
    moved: dict[str, tuple[str, int]] = {}
    for batches in alike.values():
        for run in _neighbours(sorted(batches, key=_first_read)):
            if len(run) > 1:
                new = _joined(run, graph)
                joined |= {batch.name: new for batch in run}
                starts = _starts([len(batch.members) for batch in run])
                moved |= {b.name: (new.name, start) for b, start in zip(run, starts, strict=True)}
    if not joined:
        return graph

    def move(port: Port) -> Port:
        if port.node not in moved:
            return port
        name, start = moved[port.node]
        return Port(name, start + (port.member or 0))

    kept: dict[str, Node] = {}
    for node in graph:
        new_node = joined.get(node.name) or node.renamed(move)
        kept.setdefault(new_node.name, new_node)
    return graph.with_nodes(list(kept.values()))


def _key(batch: Batch, graph: Graph) -> Hashable:
    """A key that batches to be joined share: inputs and purposes, without the number of nodes."""
    first = batch.members[0]
    if not isinstance(first, Projection) or first.reads[0].member is None:
        return None
    purposes = tuple((s.purpose, s.width, s.loras) for s in first.sections)
    if all(purpose == "down" for purpose, *_ in purposes):
        return None
    return (first.layer, first.reads[0].node, tuple(map(graph.width_of, first.reads)), purposes)


def _first_read(batch: Batch) -> int:
    return batch.members[0].reads[0].member or 0


def _neighbours(batches: list[Batch]) -> Iterator[list[Batch]]:
    """Runs of batches that read members of a value without a gap."""
    run: list[Batch] = []
    for batch in batches:
        reads = [m.reads[0] for b in [*run[-1:], batch] for m in b.members]
        if run and not all(map(follows, reads, reads[1:])):
            yield run
            run = []
        run.append(batch)
    yield run


def _joined(run: list[Batch], graph: Graph) -> Joined:
    members = tuple(member for batch in run for member in batch.members)
    reads = tuple(dict.fromkeys(port for member in members for port in member.reads))
    first = next(node for node in graph if node in run)
    runs = tuple(len(batch.members) for batch in run)
    return Joined(name=first.name, reads=reads, span=first.span, members=members, runs=runs)


def _starts(counts: list[int]) -> list[int]:
    return [sum(counts[:i]) for i in range(len(counts))]
