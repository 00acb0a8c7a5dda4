"""The path from experts to a task that must not read them, in words, and the lines that cause
it."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.promises import Tree
from homespec.diagnostics import Label
from homespec.graph.feature_nodes import VIEWS
from homespec.graph.nodes import (
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
from homespec.lower import Lowered
from homespec.resolve.layers import Layer, Path
from homespec.schema.identifiers import ROOT

KINDS: dict[type[Node], str] = {
    ExpertSet: "experts",
    Gate: "gate",
    SelfGate: "self gate",
    Mix: "state",
}


def in_words(way: list[Node]) -> str:
    """The path from the experts to the task, without nodes that only scale a value."""
    steps = [_step(node) for node in reversed(way) if not isinstance(node, (FeatureGate, *VIEWS))]
    return " → ".join(steps)


def _step(node: Node) -> str:
    if isinstance(node, Placed):
        return f"{KINDS[type(node)]} of `{_place(node)}` in `{node.layer}`"
    if isinstance(node, Product):
        return f"product `{node.task}`"
    assert isinstance(node, Tower)
    return f"tower of `{node.task}`"


def _place(node: Placed) -> str:
    return node.path[0]


def mixer(way: list[Node]) -> Mix:
    """The mixture that reads the experts at the end of a path."""
    (mix,) = [node for node in way if isinstance(node, Mix)][-1:]
    return mix


def labels(lowered: Lowered, way: list[Node]) -> tuple[Label, ...]:
    """The lines by which the first gate sees the experts, and by which its state reaches the task.

    If a family does both and no line sets it, the line that declares the owner of the experts.
    """
    seen: dict[object, Label] = {}
    for label in (*_opened(lowered, way), *_carried(lowered, way)):
        if label.span != lowered.span(()):
            seen.setdefault(label.span, label)
    return tuple(seen.values()) or (_owner(lowered, way),)


def _owner(lowered: Lowered, way: list[Node]) -> Label:
    """The line that declares the owner of the experts."""
    mix, experts = mixer(way), way[-1]
    assert isinstance(experts, ExpertSet)
    section = "groups" if experts.place in lowered.spec.groups else "tasks"
    text = f"the gate of `{_place(mix)}` in layer `{mix.layer}` mixes its experts"
    return Label(lowered.span((section, experts.place), key=True), text)


def _layer(lowered: Lowered, name: str) -> Layer:
    return next(layer for layer in lowered.layers if layer.name == name)


def _opened(lowered: Lowered, way: list[Node]) -> Iterator[Label]:
    """Why the gate of the mixture sees the experts."""
    mix, experts = mixer(way), way[-1]
    assert isinstance(experts, ExpertSet)
    layer, tree, place = _layer(lowered, mix.layer), Tree(lowered), _place(mix)
    if place not in tree.above(experts.place) and experts.place not in tree.above(place):
        sections = [(*path, "mixture") for path in layer.gate_sections]
        if span := lowered.span_giving(sections, "sees"):
            yield Label(span, f"gates of layer `{layer.name}` see all experts")
    elif place == ROOT:
        yield from _of_root(lowered, layer)
    elif place != experts.place and experts.place in tree.below(place):
        text = f"the gate of `{place}` mixes the experts of everything in it"
        yield Label(lowered.span(("groups", place), key=True), text)
    elif place != experts.place:
        text = f"`{place}` is in `{experts.place}`"
        yield Label(lowered.span(("groups", experts.place), key=True), text)


def _of_root(lowered: Lowered, layer: Layer) -> Iterator[Label]:
    """The line that gives the root a state in a layer."""
    text = f"the gate of `{ROOT}` mixes the experts of all groups and tasks"
    outputs: Path = (*layer.sections[0], "outputs")
    if lowered.has(outputs):
        yield Label(lowered.span(outputs), f"{text} in layer `{layer.name}`")
    elif lowered.has(("family",)):
        yield Label(lowered.span(("family",)), text)


def _carried(lowered: Lowered, way: list[Node]) -> Iterator[Label]:
    """The node that reads the mixture's state on the path to the task."""
    readers = way[: way.index(mixer(way))]
    state = f"the state of `{_place(mixer(way))}`"
    for node in reversed(readers):
        if isinstance(node, ExpertSet):
            text = f"experts of `{_place(node)}` in layer `{node.layer}` read {state}"
            yield Label(node.span, text)
            return
        if isinstance(node, Gate):
            sections = [(*path, "mixture") for path in _layer(lowered, node.layer).gate_sections]
            if span := lowered.span_giving(sections, "input"):
                text = f"the gate of `{_place(node)}` in layer `{node.layer}` reads {state}"
                yield Label(span, text)
            return
