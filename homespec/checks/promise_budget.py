"""The costs of a model in the measures of `expect.budget`, and the lines that cost most."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from homespec.analysis.costs import Cost, costs_by_node, table_parameters
from homespec.checks.causes import and_others, by_cause
from homespec.diagnostics import Span
from homespec.graph.feature_nodes import Feature
from homespec.graph.nodes import ExpertSet, Node, Placed, Tower
from homespec.lower import Lowered

LIMITS = {
    "parameters": "parameters",
    "dense_parameters": "parameters outside of tables",
    "flops": "FLOPs for a sample",
    "experts": "experts",
}
"""The measures, and their units."""

MOST = 3
"""Maximum number of parts in a message."""


@dataclass(frozen=True, slots=True)
class Part:
    """The nodes that one place of the spec defines, named after the most expensive one."""

    span: Span
    nodes: tuple[Node, ...]
    cost: int

    def __str__(self) -> str:
        """`the experts of `watch` in layer `meta` and 2 other sets: 12,300`."""
        return f"{_described(self.nodes)} with {self.cost:,}"


def over(lowered: Lowered) -> Iterator[tuple[str, int, dict[str, int]]]:
    """The measures in which a model exceeds its budget, with the limit and the cost by node."""
    budget = lowered.spec.expect.budget
    costs = costs_by_node(lowered.graph) if budget.model_fields_set else {}
    for name, measure in MEASURES.items():
        limit = getattr(budget, name)
        if limit:
            cost = {node.name: measure(node, costs[node.name]) for node in lowered.graph}
            if sum(cost.values()) > limit:
                yield name, limit, cost


def largest(lowered: Lowered, cost: Mapping[str, int]) -> list[Part]:
    """The most expensive places of the spec, with their nodes.

    Nodes that no line defines are grouped by kind and layer.
    """
    spec = lowered.span(())
    costly = [node for node in lowered.graph if cost[node.name]]
    costly.sort(key=lambda node: -cost[node.name])
    places = by_cause(costly, lambda node: _cause(node, spec))
    parts = [
        Part(nodes[0].span, tuple(nodes), sum([cost[node.name] for node in nodes]))
        for nodes in places.values()
    ]
    return sorted(parts, key=lambda part: -part.cost)[:MOST]


def _cause(node: Node, spec: Span) -> object:
    layer = node.layer if isinstance(node, Placed) else ""
    return (node.kind, layer) if node.span == spec else node.span


def _experts(node: Node, _: Cost) -> int:
    return node.count if isinstance(node, ExpertSet) else 0


MEASURES: dict[str, Callable[[Node, Cost], int]] = {
    "parameters": lambda _, cost: cost.parameters,
    "dense_parameters": lambda node, cost: cost.parameters - table_parameters(node),
    "flops": lambda _, cost: cost.flops,
    "experts": _experts,
}


def _described(nodes: tuple[Node, ...]) -> str:
    first = nodes[0]
    if isinstance(first, Feature) and first.rows:
        return f"the table of `{first.short}`"
    if isinstance(first, ExpertSet):
        sets = sum(isinstance(node, ExpertSet) for node in nodes)
        return f"experts of `{first.place}` in layer `{first.layer}`{and_others(sets, 'set')}"
    if isinstance(first, Placed):
        kind = first.kind.replace("_", " ")
        same = sum(node.kind == first.kind for node in nodes)
        return f"the {kind} of `{first.place}` in layer `{first.layer}`{and_others(same, kind)}"
    if isinstance(first, Tower):
        return f"the tower of `{first.task}`"
    return f"`{first.name}`"
