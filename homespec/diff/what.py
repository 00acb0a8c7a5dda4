"""How messages about changes name the nodes concerned."""

from __future__ import annotations

from homespec.checks.causes import listed
from homespec.diff.pair import Match
from homespec.graph.nodes import ExpertSet, FeatureGate, Gate, Node, Placed, SelfGate, Tower

KINDS: dict[type[Node], str] = {
    ExpertSet: "experts",
    FeatureGate: "feature gate",
    SelfGate: "self gate",
    Gate: "gate",
    Tower: "tower",
}


def what_of(matches: list[Match]) -> str:
    """`the experts of `watch` and 3 others in layer `meta``; `the towers of `click` and `like``."""
    nodes = [new for _, new in matches]
    kind = KINDS[type(nodes[0])]
    if isinstance(nodes[0], Tower):
        names = [node.task for node in nodes if isinstance(node, Tower)]
        return f"the {kind} of {listed(names)}"
    placed = [node for node in nodes if isinstance(node, Placed)]
    layers = list(dict.fromkeys(node.layer for node in placed))
    places = list(dict.fromkeys(node.place for node in placed))
    return (
        f"the {kind} of {listed(places)} in layer{'s' if len(layers) > 1 else ''} {listed(layers)}"
    )


def widths_after(node: Node) -> str:
    """The widths of an MLP's layers, without that of its input."""
    assert isinstance(node, (ExpertSet, Tower))
    return ", ".join(map(str, node.widths[1:]))
