"""The published model that a graph matches, and its differences from that model.

For each family, the layers are built again as that family builds them, on the same sets and states,
and lowered. Each other difference between the two graphs is reported, and so are nodes that own
experts or have a state in only one of them. Numbers of experts and widths do not count.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from homespec.graph import Graph
from homespec.graph.feature_nodes import Detached
from homespec.graph.nodes import ExpertSet, FeatureGate, Gate, Placed, Port, SelfGate
from homespec.lower import Lowered, lower
from homespec.resolve import Resolved
from homespec.resolve.families import FAMILIES, Family, Topology
from homespec.resolve.layers import Layer
from homespec.resolve.tree import Role, nesting
from homespec.schema.models import ExpertSet as ExpertStyle
from homespec.schema.models import overlay

NORMS = {"batch": "batch norm", "layer": "layer norm", "none": "no norm"}
READS = {
    "path": "the states along their path",
    "own": "their own state alone",
    "v": "the features v",
    "none": "nothing: static weights",
}
TOGETHER = "that read one state together"
ACTING = "that read a state"
MADE = {True: "MLPs", False: "LoRAs"}


Traits = dict[str, dict[str, Any]]
"""The traits of a layer: the value of each trait by tree node."""

Word = Callable[[Any, Any], str]
"""Describes a trait whose value differs from the family's."""

OF_SETS: dict[str, Word] = {
    "norm": lambda mine, theirs: f"{NORMS[mine]} in place of {NORMS[theirs]}",
    "activation": lambda mine, theirs: f"activation {mine} in place of {theirs}",
    "is one": lambda *_: "several experts and a gate",
    "hidden": lambda mine, _: f"hidden layers with {mine}",
    "reads each": lambda mine, _: f"experts {'with a state each' if mine else TOGETHER}",
    "has a feature gate": lambda mine, _: "feature gates" if mine else "no feature gates",
    "mix": lambda *_: "LoRAs mixed before their sigmoid",
    "feature gate is an MLP": lambda mine, _: f"feature gates made of {MADE[mine]}",
    "feature gate reads": lambda mine, _: f"feature gates that read {' and '.join(mine)}",
}
OF_GATES: dict[str, Word] = {
    "self gate is deep": lambda *_: "self gates with hidden layers",
    "self gate is gated": lambda *_: "self gates that read the gated input",
    "self gate is static": lambda mine, _: f"self gates {'of static weights' if mine else ACTING}",
    "is deep": lambda *_: "gates with hidden layers",
    "is gated": lambda *_: "gates that read the feature-gated states",
}


class Difference(NamedTuple):
    """A difference of a layer from the family; `places` are the nodes, empty for all nodes."""

    text: str
    layer: str
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FamilyMatch:
    """The published model closest to a graph. Without differences, the graph is that model."""

    family: str
    layers: int
    differences: tuple[Difference, ...]
    grouped: bool
    """Whether task groups take part, as in HoME."""


def match_family(lowered: Lowered) -> FamilyMatch:
    """The family with the fewest differences; of several, the first, which is the most specific."""
    layers, root = lowered.layers, lowered.root
    has_groups = bool(root.of(Role.GROUP))
    matches = []
    for key, family in FAMILIES.items():
        if family.stacks is None and len(layers) > 1:
            continue
        built = _built_otherwise(lowered, family)
        topologies = list(family.topologies(root, len(layers)))
        for grouped in (False, True) if has_groups and key != "home" else (has_groups,):
            differences = tuple(
                difference
                for layer, topology, inside in zip(layers, topologies, built, strict=True)
                for difference in (*_owned(layer, topology, grouped), *inside)
            )
            matches.append(FamilyMatch(key, len(layers), differences, grouped))
    return min(matches, key=lambda match: sum(max(1, len(d.places)) for d in match.differences))


def _owned(layer: Layer, topology: Topology, grouped: bool) -> Iterator[Difference]:
    """Nodes that own experts or have a state only in the layer, or only in the family.

    As published, families other than HoME have no groups.
    """
    owners, outputs = (
        [node.name for node in nodes if grouped or node.role is not Role.GROUP]
        for nodes in (topology.sets, topology.outputs)
    )
    states = [node.name for node in layer.outputs]
    differences = {
        "no experts": [name for name in owners if name not in layer.sets],
        "experts, too,": [name for name in layer.sets if name not in owners],
        "no state": [name for name in outputs if name not in states],
        "a state, too,": [name for name in states if name not in outputs],
    }
    return (Difference(t, layer.name, tuple(places)) for t, places in differences.items() if places)


def _built_otherwise(lowered: Lowered, family: Family) -> list[list[Difference]]:
    """The differences of each layer's experts and gates from those of the family."""
    layers = tuple(_published(layer, family, index) for index, layer in enumerate(lowered.layers))
    theirs = lower(Resolved(lowered.spec, lowered.document, lowered.root, layers)).graph
    return [list(_compared(layer, family, lowered.graph, theirs)) for layer in lowered.layers]


def _published(layer: Layer, family: Family, index: int) -> Layer:
    """The layer with the experts and gates of the family, and with its own numbers of experts."""
    inputs: Literal["one", "each"] = "each" if family.state_each and index > 0 else "one"
    sets = {}
    for name, plan in layer.sets.items():
        own = ExpertStyle(count=plan.experts.count, inputs=inputs)
        sets[name] = dataclasses.replace(plan, experts=overlay(family.experts, own, to=ExpertStyle))
    sees = layer.gates.mixture.sees  # the mask may hide everything from a gate
    return _seeing(dataclasses.replace(layer, sets=sets, gates=family.gates), sees)


def _seeing(layer: Layer, sees: str) -> Layer:
    mixture = layer.gates.mixture.model_copy(update={"sees": sees})
    return dataclasses.replace(layer, gates=layer.gates.model_copy(update={"mixture": mixture}))


def _compared(layer: Layer, family: Family, mine: Graph, theirs: Graph) -> Iterator[Difference]:
    """The differences between one layer of two graphs with the same sets and states."""
    here, there = _traits(mine, layer), _traits(theirs, layer)
    there["is one"] = dict.fromkeys(layer.sets, True) if family.experts.count == 1 else {}
    yield from _differing(layer, here, there, OF_SETS)
    here_only = [name for name in here["self gate"] if name not in there["self gate"]]
    missing = [name for name in there["self gate"] if name not in here["self gate"]]
    yield from _by_place(layer, "no self gates", missing, len(there["self gate"]))
    if family.gates.self.enabled:
        yield from _by_place(layer, "self gates, too,", here_only)
    else:
        yield from _by_place(layer, "self gates", here_only, len(here_only))
    yield from _mask(layer, family)
    reads = f"gates that read {_reading(layer)}"
    yield from _differing(layer, here, there, {**OF_GATES, "reads": lambda *_: reads})


def _traits(graph: Graph, layer: Layer) -> Traits:
    """The traits of a layer."""
    traits: Traits = defaultdict(dict)
    for node in graph:
        if isinstance(node, Placed) and node.layer == layer.name:
            for trait, value in _traits_of(graph, node):
                traits[trait][node.path[0]] = value
    return traits


def _traits_of(graph: Graph, node: Placed) -> Iterator[tuple[str, Any]]:
    """The traits of one node."""
    match node:
        case ExpertSet():
            gate = graph[node.reads[0].node]
            yield "norm", node.norm
            yield "activation", node.activation
            yield "is one", node.count == 1
            yield "hidden", node.hidden_activation if len(node.widths) > 2 else "relu"
            yield "reads each", len(node.reads) > 1
            yield "has a feature gate", isinstance(gate, FeatureGate)
            if isinstance(gate, FeatureGate):
                yield "mix", gate.mix
                yield "feature gate is an MLP", gate.activation != "none"
                yield "feature gate reads", _values(graph, gate.reading)
        case SelfGate():
            yield "self gate", True
            yield "self gate is deep", len(node.widths) > 2
            yield "self gate is gated", _is_gated(graph, node)
            yield "self gate is static", node.is_static
        case Gate() if node.choices > 1:
            yield "is deep", len(node.widths) > 2
            yield "is gated", _is_gated(graph, node)
            yield "reads", _values(graph, node.reads)


def _reading(layer: Layer) -> str:
    """What the mixture gates of a layer read, in words."""
    read = layer.gates.mixture.input
    return READS[read] if isinstance(read, str) else " and ".join(read)


def _is_gated(graph: Graph, gate: Gate) -> bool:
    """Whether a gate reads the output of feature gates."""
    return any(isinstance(graph[graph.attached(p).node], FeatureGate) for p in gate.reads)


def _values(graph: Graph, ports: tuple[Port, ...]) -> tuple[str, ...]:
    """The tree nodes whose states a gate reads, through feature gates if any; or the name of v.

    Values into which it sends no gradient are others.
    """

    def value(port: Port) -> str:
        node = graph[port.node]
        if isinstance(node, Detached):
            return f"{value(node.reads[0])}, detached"
        if isinstance(node, FeatureGate):
            return value(node.reads[0])
        return node.path[0] if isinstance(node, Placed) else node.name

    return tuple(dict.fromkeys(map(value, ports)))


def _differing(
    layer: Layer, here: Traits, there: Traits, words: dict[str, Word]
) -> Iterator[Difference]:
    """Descriptions of the traits whose values differ."""
    for trait, word in words.items():
        mine, theirs = here[trait], there[trait]
        both = [name for name in mine if name in theirs]
        texts: dict[str, list[str]] = {}
        for name in both:
            if mine[name] != theirs[name]:
                texts.setdefault(word(mine[name], theirs[name]), []).append(name)
        for text, names in texts.items():
            yield from _by_place(layer, text, names, len(both))


MASKS = {
    ("path", "all"): "no hierarchy mask: gates see every set",
    ("path", "forward"): "no hierarchy mask: gates see every set, without gradients off the path",
    ("forward", "all"): "gates that send gradients to every set",
    ("forward", "path"): "a hierarchy mask: gates see the sets on their path",
    ("all", "path"): "a hierarchy mask: gates see the sets on their path",
    ("all", "forward"): "gates that send gradients to the sets on their path alone",
}
"""What a layer has otherwise, by what gates see in the family and in the layer."""


def _mask(layer: Layer, family: Family) -> Iterator[Difference]:
    """States whose gates see, or train, other sets than in the family."""
    mine, theirs = layer.gates.mixture.sees, family.gates.mixture.sees
    if mine == theirs:
        return
    masked = _seeing(layer, "path")
    hiding = [node for node in layer.outputs if len(masked.visible(node)) < len(layer.sets)]
    differing = [node.name for node in hiding]
    if mine != "path":
        seeing = [node for node in hiding if len(layer.visible(node)) == len(layer.sets)]
        differing = [node.name for node in seeing]
    yield from _by_place(layer, MASKS[theirs, mine], differing, len(hiding))


def _by_place(
    layer: Layer, text: str, names: list[str], everywhere: int = -1
) -> Iterator[Difference]:
    """The difference, with the nodes that have it unless all do."""
    if names:
        yield Difference(text, layer.name, () if len(names) == everywhere else tuple(names))


def describe_match(lowered: Lowered, match: FamilyMatch) -> str:
    """The description of a model: a sentence, or a list of differences."""
    name, root = lowered.spec.name, lowered.root
    title = FAMILIES[match.family].title
    layers = f"{match.layers} layer{'' if match.layers == 1 else 's'}"
    groups, tasks = len(root.of(Role.GROUP)), len(root.of(Role.TASK))
    size = f"{layers}, {tasks} tasks" + (f" in {groups} groups" if groups else "")
    published = "as published"
    if match.family == "home" and match.layers != nesting(root) + 1:
        published = f"with {layers} where it has {nesting(root) + 1}"
    elif match.family == "home" and nesting(root) > 1:
        published = f"on groups nested {nesting(root)} deep"
    elif match.grouped and match.family not in ("home", "moe", "shared_bottom") and groups:
        published = "with task groups"
    if not match.differences:
        return f"{name} equals {title}, {published}: {size}.\n"
    title += "" if published == "as published" else f" {published}"
    lines = [f"{name} is {title} ({size}), but:"]
    lines += [f"  - {text}" for text in _lines(match)]
    return "\n".join(lines) + "\n"


def _lines(match: FamilyMatch) -> Iterator[str]:
    """One line for each difference; a difference that all layers share is listed once."""
    by_text: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for text, layer, places in match.differences:
        by_text.setdefault((text, places), []).append(layer)
    for (text, places), layers in by_text.items():
        where = f" at {', '.join(places)}" if places else ""
        in_layers = f" in layer {', '.join(layers)}" if len(layers) < match.layers else ""
        yield f"{text}{where}{in_layers}"
