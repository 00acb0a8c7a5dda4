"""Stage 4, lower: what gates read by their `input` and `detach`: states, v, and features of v."""

from __future__ import annotations

from collections.abc import Callable

from homespec.diagnostics import Span
from homespec.graph import Graph
from homespec.graph.feature_nodes import Columns, Detached, Feature, Input, Reading
from homespec.graph.inputs import features_read
from homespec.graph.nodes import Port
from homespec.graph.sequences import Sequence
from homespec.lower.states import State
from homespec.schema.gates import Reading as Reader
from homespec.schema.gates import detached_entries, entries_of


def reading(
    graph: Graph, gate: Reader, states: Callable[[str], list[State]], v: State, span: Span
) -> list[State]:
    """The values that a gate reads: features in the order of v, then states.

    `states` gives those that a word such as `path` means, `v` the features that the gate may read;
    `span` is the line of the gate.
    """
    entries, detached = entries_of(gate), detached_entries(gate)
    chosen = [node.short for node in _features(graph, v) if node.short in entries]
    found: dict[State, None] = {}
    for is_detached in (False, True):
        names = tuple(name for name in chosen if (name in detached) is is_detached)
        if names:
            columns = _columns(graph, v, names, span)
            found[_detached(graph, columns, span) if is_detached else columns] = None
    for word in (entry for entry in entries if entry not in chosen):
        for state in states(word):
            found[_detached(graph, state, span) if word in detached else state] = None
    return list(found)


def _columns(graph: Graph, v: State, names: tuple[str, ...], span: Span) -> State:
    """The columns of v that belong to features; gates that read the same ones share a node."""
    (source,) = v.ports
    slices: list[tuple[int, int]] = []
    start = 0
    for node in _features(graph, v):
        end = start + node.width
        if node.short in names:
            joins = slices and slices[-1][1] == start
            slices[-1:] = [(slices[-1][0], end)] if joins else [*slices[-1:], (start, end)]
        start = end
    width = sum(end - start for start, end in slices)
    name = f"columns.{'.'.join((*source.node.split('.'), *names))}"
    if name not in graph:
        graph.add(
            Columns(
                name=name, reads=(source,), span=span, features=names, slices=tuple(slices),
                width=width,
            )
        )  # fmt: skip
    return State((Port(name),), width)


def _features(graph: Graph, v: State) -> list[Feature | Sequence]:
    """The features that a node may read, in their order."""
    read = graph[v.ports[0].node]
    assert isinstance(read, Input | Reading)
    return features_read(graph, read)


def _detached(graph: Graph, state: State, span: Span) -> State:
    """The same values without their gradients."""
    ports = []
    for port in state.ports:
        name = f"detached.{port.node}"
        if name not in graph:
            graph.add(Detached(name=name, reads=(port,), span=span, width=state.width))
        ports.append(Port(name))
    return State(tuple(ports), state.width)
