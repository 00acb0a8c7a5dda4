"""HS310 and HS311: the size of the weights of a graph."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.analysis.costs import costs_by_node
from homespec.diagnostics import Finding, Severity, rule
from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature
from homespec.graph.nodes import ExpertSet, Node, Placed
from homespec.limits import MACHINE_BYTES, VARIABLE, describe_bytes, max_bytes
from homespec.lower import Lowered

BYTES = 4
"""Bytes of a weight: float32."""


def _sizes(graph: Graph) -> dict[str, int]:
    """The size in bytes of each node's weights."""
    return {name: BYTES * cost.parameters for name, cost in costs_by_node(graph).items()}


@rule("HS310", "too-many-bytes")
def too_many_bytes(lowered: Lowered) -> Iterator[Finding]:
    """The weights take more bytes than the limit.

    Usually there is a typo in the `buckets`, `vocab` or `dim` of an embedding table. The message
    names the largest part. The count covers the weights in float32, tables and trunk together, but
    not the state of an optimizer (Adam needs twice as much again).

    The limit is 100 TB, chosen by homespec: tables of terabytes are trained, sharded over many
    machines, but tables of petabytes are not. The environment variable `HOMESPEC_MAX_BYTES` sets
    another limit for all verbs and the Python interface. For example, `HOMESPEC_MAX_BYTES=40GB` in
    CI keeps specs from outgrowing the machine that serves them. A spec cannot set the limit.
    """
    sizes = _sizes(lowered.graph)
    total, limit = sum(sizes.values()), max_bytes()
    if total <= limit:
        return
    part, largest = _largest(lowered.graph, sizes)
    yield Finding(
        largest.span,
        f"the weights take {describe_bytes(total)}, more than the limit of "
        f"{describe_bytes(limit)}: {part}",
        label=describe_bytes(sizes[largest.name]),
        help=f"{_smaller(largest)}; {VARIABLE} in the environment sets the limit, such as "
        f"{VARIABLE}=2TB",
    )


@rule("HS311", "more-than-a-machine", Severity.WARNING)
def more_than_a_machine(lowered: Lowered) -> Iterator[Finding]:
    """The weights take more bytes than one machine holds.

    Few single machines hold a model of more than 1 TB (homespec's own threshold), and Adam needs
    three times that. If you shard tables over many machines, this is expected: ignore the rule with
    a reason. Otherwise a number in `buckets`, `vocab` or `dim` is probably too large.
    """
    sizes = _sizes(lowered.graph)
    total = sum(sizes.values())
    if not MACHINE_BYTES < total <= max_bytes():
        return
    part, largest = _largest(lowered.graph, sizes)
    yield Finding(
        largest.span,
        f"the weights take {describe_bytes(total)}, more than one machine holds: {part}",
        label=describe_bytes(sizes[largest.name]),
        help=f"{_smaller(largest)}, or ignore this rule if tables are sharded",
    )


def _largest(graph: Graph, sizes: dict[str, int]) -> tuple[str, Node]:
    """The largest part, in words and as a node."""
    node = graph[max(sizes, key=sizes.__getitem__)]
    size = f"{describe_bytes(sizes[node.name])} ({sizes[node.name]:,} bytes)"
    if isinstance(node, Feature) and node.rows:
        part = f"the table of `{node.short}`, {node.rows:,} rows of width {node.width:,},"
    elif isinstance(node, ExpertSet):
        part = f"the expert set of `{node.place}` in layer `{node.layer}`"
    elif isinstance(node, Placed):
        part = f"the {node.kind.replace('_', ' ')} of `{node.place}` in layer `{node.layer}`"
    else:
        part = f"`{node.name}`"
    return f"{part} has {size}", node


def _smaller(node: Node) -> str:
    return (
        "use fewer rows or a smaller `dim`" if isinstance(node, Feature) else "use smaller widths"
    )
