"""The contents of pictures of a graph: boxes by layer, and arrows between them.

A picture with every node is unreadable, so features are counted in the box of the input, feature
gates belong to the expert sets that read them, and gates and self gates to the states that they
weigh. Objectives are not shown. The input of a gate is a weak arrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from homespec.graph import Graph
from homespec.graph.feature_nodes import INPUT, Feature, Input, Reading
from homespec.graph.nodes import (
    Batch,
    ExpertSet,
    FeatureGate,
    Gate,
    Mix,
    Node,
    Placed,
    Product,
    SelfGate,
    Tower,
)
from homespec.graph.sequences import Sequence

BOXES = (Input, Reading, ExpertSet, Mix, Tower, Product)
GATES = (Gate, SelfGate)


@dataclass(frozen=True, slots=True)
class Box:
    """A node of a picture: `kind` is input, experts, state, tower or product."""

    name: str
    kind: str
    layer: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrow:
    """From the box that computes a value to the box that reads it; weak if only a gate reads it."""

    start: str
    end: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes in dependency order, and the arrows between them."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    @property
    def layers(self) -> dict[str, list[Box]]:
        """The boxes by layer, in the order of the layers. The input and towers have layer ""."""
        layers: dict[str, list[Box]] = {}
        for box in self.boxes:
            layers.setdefault(box.layer, []).append(box)
        return layers


def picture(graph: Graph) -> Picture:
    """The picture of a graph, optimised or not."""
    nodes = [node for node in graph if type(_first(node)) in BOXES]
    boxes = tuple(_box(graph, node) for node in nodes)
    arrows = dict.fromkeys(arrow for node in nodes for arrow in _arrows(graph, node))
    return Picture(boxes, tuple(a for a in arrows if not (a.weak and _strong(a) in arrows)))


def _first(node: Node) -> Node:
    """A node, or the first member of a batch, which has the kind of all members."""
    return node.members[0] if isinstance(node, Batch) else node


def _strong(arrow: Arrow) -> Arrow:
    return Arrow(arrow.start, arrow.end)


def _arrows(graph: Graph, node: Node) -> Iterator[Arrow]:
    if isinstance(_first(node), Reading):  # some of the features are those that the root reads
        yield Arrow(INPUT, node.name)
    for start, weak in _makers(graph, node, weak=False):
        yield Arrow(start, node.name, weak)


def _makers(graph: Graph, node: Node, weak: bool) -> Iterator[tuple[str, bool]]:
    """The boxes that a node reads, through nodes that are not boxes, and whether through a gate."""
    for name in dict.fromkeys(port.node for port in node.reads):
        maker = graph[name]
        kind = type(_first(maker))
        if kind in BOXES:
            yield name, weak
        elif kind is not Feature:
            yield from _makers(graph, maker, weak or kind in GATES)


def _box(graph: Graph, node: Node) -> Box:
    first = _first(node)
    layer = first.layer if isinstance(first, Placed) else ""
    kind = Input.kind if isinstance(first, Reading) else first.kind
    return Box(node.name, kind, layer, (_title(node), *_details(graph, node)))


def _title(node: Node) -> str:
    """The place of a node in the tree, or the places of all members of a batch."""
    members = node.members if isinstance(node, Batch) else (node,)
    return ", ".join(member.name.removeprefix("readings.").rpartition(".")[2] for member in members)


def _details(graph: Graph, node: Node) -> Iterator[str]:
    first = _first(node)
    match first:
        case Input():
            yield f"{_count(len(first.reads), 'feature')}, width {first.width}"
            for sequence in graph.of(Sequence):
                encoder = type(sequence.encoder).__name__
                yield f"{sequence.short}: {encoder} of {_count(sequence.max_len, 'event')}"
        case Reading():
            yield f"{_count(len(first.reads), 'feature')}, width {first.width}"
        case ExpertSet():
            each = " each" if isinstance(node, Batch) and len(node.members) > 1 else ""
            yield f"{_count(first.count, 'expert')}{each}, {_arrow(first.widths)}"
            yield from _feature_gate(graph, node)
        case Mix():
            gates = "gate and self gate" if first.residual_positions else "gate"
            yield f"{gates}, width {first.width}"
        case Tower():
            yield f"tower, {_arrow(first.widths)}"
        case Product():
            yield "product of probabilities"


def _feature_gate(graph: Graph, node: Node) -> Iterator[str]:
    maker = _first(graph[node.reads[0].node])
    if isinstance(maker, FeatureGate):
        yield f"feature gate: {_count(maker.loras, 'LoRA')} of rank {maker.rank}"


def _arrow(widths: tuple[int, ...]) -> str:
    return "→".join(map(str, widths))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
