"""Stage 4, lower: a resolved spec becomes the graph of the model."""

from __future__ import annotations

from dataclasses import dataclass

from homespec.graph import Graph
from homespec.lower.feature_nodes import add_features
from homespec.lower.layer_nodes import LayerBuilder
from homespec.lower.task_nodes import add_products, add_tower
from homespec.resolve import Resolved
from homespec.resolve.layers import states_each
from homespec.resolve.tree import Role, nesting


@dataclass(frozen=True, slots=True)
class Lowered(Resolved):
    """A resolved spec and the graph of its model."""

    graph: Graph


def lower(resolved: Resolved) -> Lowered:
    """The graph of a spec with sound names and layers; widths may still disagree."""
    root, layers = resolved.root, resolved.layers
    graph = Graph(resolved.spec.name, resolved.span(()), tasks=tuple(resolved.spec.tasks))
    v = states = add_features(graph, resolved)
    depth = nesting(root) + 1
    for layer, several in zip(layers, states_each(layers), strict=True):
        states = LayerBuilder(graph, resolved, layer, states, v, several, depth).build()
    for task in root.of(Role.TASK):
        state = next(states[node.name] for node in task.path if node.name in states)
        add_tower(graph, resolved, task.name, state)
    add_products(graph, resolved)
    return Lowered(resolved.spec, resolved.document, root, layers, graph)
