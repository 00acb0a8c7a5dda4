"""Which published model a graph is, and how it differs from it: computed from the graph alone.

Every family's layers are laid out on the same tree and compared with what the graph has, layer by
layer. Numbers and widths are free; what counts is who owns experts, who has a state, what a gate
reads, and how experts are built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from homespec.graph import Graph
from homespec.graph.nodes import INPUT, ExpertSet, FeatureGate, Gate, Mix, Placed, Port, SelfGate
from homespec.resolve.families import FAMILIES, Family, Topology
from homespec.resolve.tree import Role, TreeNode, nesting

NORMS = {"batch": "batch norm", "layer": "layer norm", "none": "no norm"}
READS = {
    "path": "the states along their path",
    "own": "their own state alone",
    "v": "the features v",
}


class Difference(NamedTuple):
    """What a layer has otherwise than the family; `places` are the nodes, empty for all."""

    text: str
    layer: str
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Likeness:
    """The published model that a graph is most like. No differences: it is that model."""

    family: str
    layers: int
    differences: tuple[Difference, ...]
    grouped: bool = True
    """Whether task groups take part, as they do in HoME."""


@dataclass(slots=True)
class SeenLayer:
    """One layer as the graph has it, by tree node."""

    name: str
    sets: dict[str, ExpertSet] = field(default_factory=dict)
    states: dict[str, list[Mix]] = field(default_factory=dict)
    feature_gates: dict[str, list[FeatureGate]] = field(default_factory=dict)
    self_gates: dict[str, SelfGate] = field(default_factory=dict)


def node_of(place: str) -> str:
    """The tree node of a place: `shared.1` is the second state of `shared`."""
    return place.partition(".")[0]


def seen_layers(graph: Graph) -> list[SeenLayer]:
    """The layers of a graph as lowered."""
    layers: dict[str, SeenLayer] = {}
    for node in graph:
        if not isinstance(node, Placed):
            continue
        layer = layers.setdefault(node.layer, SeenLayer(node.layer))
        place = node_of(node.place)
        match node:
            case ExpertSet():
                layer.sets[place] = node
            case Mix():
                layer.states.setdefault(place, []).append(node)
            case FeatureGate():
                layer.feature_gates.setdefault(place, []).append(node)
            case SelfGate():
                layer.self_gates[place] = node
    return list(layers.values())


def likeness(graph: Graph, root: TreeNode) -> Likeness:
    """The family with the fewest differences; of several the first, the most special one."""
    layers = seen_layers(graph)
    found = []
    for key, family in FAMILIES.items():
        if family.stacks is None and len(layers) > 1:
            continue
        grouped_too = bool(root.of(Role.GROUP))
        for grouped in (False, True) if grouped_too and key != "home" else (grouped_too,):
            differences = tuple(_differences(graph, root, layers, family, grouped))
            found.append(Likeness(key, len(layers), differences, grouped))
    return min(found, key=lambda like: sum(max(1, len(d.places)) for d in like.differences))


def _differences(
    graph: Graph, root: TreeNode, layers: list[SeenLayer], family: Family, grouped: bool
) -> Iterator[Difference]:
    nodes = {node.name: node for node in root.walk()}
    before: dict[str, list[Port]] = {root.name: [Port(INPUT)]}
    for index, topology in enumerate(family.topologies(root, len(layers))):
        layer = layers[index]
        expected = topology if grouped else _without_groups(topology)
        yield from _topology(layer, expected)
        yield from _experts(layer, family, each=family.state_each and index > 0)
        yield from _feature_gates(layer, family)
        yield from _self_gates(graph, layer, expected, family)
        yield from _GateReader(graph, layer, nodes, before).differences(family)
        before = {n: [Port(mix.name) for mix in mixes] for n, mixes in layer.states.items()}


def _without_groups(topology: Topology) -> Topology:
    """The layer as published, where families other than HoME know no groups."""
    sets = tuple(node for node in topology.sets if node.role is not Role.GROUP)
    outputs = tuple(node for node in topology.outputs if node.role is not Role.GROUP)
    return Topology(sets, outputs)


def _topology(layer: SeenLayer, topology: Topology) -> Iterator[Difference]:
    owners = dict.fromkeys(node.name for node in topology.sets)
    outputs = dict.fromkeys(node.name for node in topology.outputs)
    missing = {
        "no experts": [n for n in owners if n not in layer.sets],
        "experts, too,": [n for n in layer.sets if n not in owners],
        "no state": [n for n in outputs if n not in layer.states],
        "a state, too,": [n for n in layer.states if n not in outputs],
    }
    for text, places in missing.items():
        if places:
            yield Difference(text, layer.name, tuple(places))


def _experts(layer: SeenLayer, family: Family, each: bool) -> Iterator[Difference]:
    norm, activation = family.experts.norm, family.experts.activation
    found: dict[str, list[str]] = {}
    for name, experts in layer.sets.items():
        if experts.norm != norm:
            found.setdefault(f"{NORMS[experts.norm]} in place of {NORMS[norm]}", []).append(name)
        if experts.activation != activation:
            text = f"activation {experts.activation} in place of {activation}"
            found.setdefault(text, []).append(name)
        if family.experts.count == 1 and experts.count > 1:
            found.setdefault("several experts and a gate", []).append(name)
        if experts.hidden_activation != "relu" and len(experts.widths) > 2:
            found.setdefault(f"hidden layers with {experts.hidden_activation}", []).append(name)
        if experts.count > 1 and (len(experts.reads) > 1) != each:
            text = "experts that read one state together" if each else "experts with a state each"
            found.setdefault(text, []).append(name)
    yield from _by_place(layer, found, len(layer.sets))


def _feature_gates(layer: SeenLayer, family: Family) -> Iterator[Difference]:
    gates = layer.feature_gates
    if not family.gates.feature.enabled:
        if gates:
            yield Difference("feature gates", layer.name)
        return
    bare = [name for name in layer.sets if name not in gates]
    before = [n for n, found in gates.items() if found[0].mix == "before_sigmoid"]
    found = {"no feature gates": bare, "LoRAs mixed before their sigmoid": before}
    yield from _by_place(layer, found, len(layer.sets))


def _self_gates(
    graph: Graph, layer: SeenLayer, topology: Topology, family: Family
) -> Iterator[Difference]:
    gates = layer.self_gates
    if not family.gates.self.enabled:
        if gates:
            yield Difference("self gates", layer.name)
        return
    wanted = dict.fromkeys(n.name for n in topology.outputs if n.name in layer.sets)
    found = {
        "no self gates": [name for name in wanted if name not in gates],
        "self gates with hidden layers": [n for n, g in gates.items() if len(g.widths) > 2],
        "self gates that read the gated input": [
            n for n, g in gates.items() if isinstance(graph[g.reads[0].node], FeatureGate)
        ],
    }
    yield from _by_place(layer, found, len(wanted))
    more = tuple(name for name in gates if name not in wanted)
    if more:
        yield Difference("self gates, too,", layer.name, more)


def _by_place(
    layer: SeenLayer, found: dict[str, list[str]], everywhere: int
) -> Iterator[Difference]:
    for text, places in found.items():
        if places:
            yield Difference(text, layer.name, () if len(places) == everywhere else tuple(places))


@dataclass(slots=True)
class _GateReader:
    """Compares what the mixture gates of a layer see and read with what a family's do."""

    graph: Graph
    layer: SeenLayer
    nodes: dict[str, TreeNode]
    before: dict[str, list[Port]]
    """The states that the layer reads, by tree node."""

    def differences(self, family: Family) -> Iterator[Difference]:
        yield from self._mask()
        expected = family.gates.mixture.input
        found: dict[str, list[str]] = {}
        for name, mixes in self.layer.states.items():
            for text in dict.fromkeys(t for mix in mixes for t in self._gate(name, mix, expected)):
                found.setdefault(text, []).append(name)
        yield from _by_place(self.layer, found, len(self.layer.states))

    def _mask(self) -> Iterator[Difference]:
        """Gates that see sets which stand on no path with them, though the law hides some."""
        hidden, seeing = 0, []
        for name, mixes in self.layer.states.items():
            node = self.nodes[name]
            path = {n.name for n in (*node.path, *node.walk())}
            hidden += not self.layer.sets.keys() <= path
            if not {port.node.split(".", 2)[2] for port in mixes[0].sets} <= path:
                seeing.append(name)
        text = "no hierarchy mask: gates see every set"
        yield from _by_place(self.layer, {text: seeing}, hidden)

    def _gate(self, name: str, mix: Mix, expected: str) -> Iterator[str]:
        node = self.nodes[name]
        gate = self.graph[mix.gate.node]
        assert isinstance(gate, Gate)
        if gate.choices == 1:
            return
        if len(gate.widths) > 2:
            yield "gates with hidden layers"
        if any(isinstance(self.graph[p.node], FeatureGate) for p in gate.reads):
            yield "gates that read the feature-gated states"
        reads = [self._ungated(port) for port in gate.reads]
        if reads != self._states(node, expected):
            kinds = (k for k in READS if self._states(node, k) == reads)
            yield f"gates that read {READS[next(kinds, 'path')]}"

    def _ungated(self, port: Port) -> Port:
        node = self.graph[port.node]
        return node.reads[0] if isinstance(node, FeatureGate) else port

    def _states(self, node: TreeNode, kind: str) -> list[Port]:
        if kind == "v":
            return [Port(INPUT)]
        found: list[list[Port]] = []
        for step in node.path:
            state = next((self.before[n.name] for n in step.path if n.name in self.before), None)
            if state and state not in found:
                found.append(state)
        chosen = found if kind == "path" else found[:1]
        return [port for state in chosen for port in state]


def in_words(name: str, like: Likeness, root: TreeNode) -> str:
    """What a model is, in a sentence or in a list of what is different."""
    title = FAMILIES[like.family].title
    layers = f"{like.layers} layer{'' if like.layers == 1 else 's'}"
    groups, tasks = len(root.of(Role.GROUP)), len(root.of(Role.TASK))
    size = f"{layers}, {tasks} tasks" + (f" in {groups} groups" if groups else "")
    published = "as published"
    if like.family == "home" and like.layers != nesting(root) + 1:
        published = f"with {layers} where it has {nesting(root) + 1}"
    elif like.family == "home" and nesting(root) > 1:
        published = f"on groups nested {nesting(root)} deep"
    elif like.grouped and like.family not in ("home", "moe", "shared_bottom") and groups:
        published = "with task groups"
    if not like.differences:
        return f"{name} equals {title}, {published}: {size}.\n"
    title += "" if published == "as published" else f" {published}"
    lines = [f"{name} is {title} ({size}), but:"]
    lines += [f"  - {text}" for text in _told(like)]
    return "\n".join(lines) + "\n"


def _told(like: Likeness) -> Iterator[str]:
    """One line for each difference; what all layers have in common is told once."""
    by_text: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for text, layer, places in like.differences:
        by_text.setdefault((text, places), []).append(layer)
    for (text, places), layers in by_text.items():
        where = f" at {', '.join(places)}" if places else ""
        in_layers = f" in layer {', '.join(layers)}" if len(layers) < like.layers else ""
        yield f"{text}{where}{in_layers}"


def gates_in_words(graph: Graph) -> Iterator[str]:
    """For each gate the expert sets that it reads, and the states that drive it."""
    for layer in seen_layers(graph):
        yield f"layer {layer.name}"
        for name, mixes in layer.states.items():
            for mix in mixes:
                yield f"  {_state(name, mix)} mixes {_mixed(mix)}; {_driven(graph, mix)}"


def _state(name: str, mix: Mix) -> str:
    _, _, index = mix.place.partition(".")
    return f"{name} (for expert {index})" if index else name


def _mixed(mix: Mix) -> str:
    places = [port.node.split(".", 2)[2] for port in mix.sets]
    return ", ".join(f"{c}×{place}" for c, place in zip(mix.counts, places, strict=True))


def _driven(graph: Graph, mix: Mix) -> str:
    gate = graph[mix.gate.node]
    reads = " ⊕ ".join(_read(port) for port in gate.reads)
    driven = f"its gate reads {reads}" if reads else "one choice, no gate"
    places = [port.node.split(".", 2)[2] for port in mix.sets]
    own = [places[residual.position] for residual in mix.residuals]
    return driven + (f"; self gate on {', '.join(own)}" if own else "")


def _read(port: Port) -> str:
    if port.node == INPUT:
        return "v"
    kind, _, place = port.node.split(".", 2)
    return f"{place} (gated)" if kind == "feature_gates" else place
