"""The law of the family (HOME.md section 7): layers of tree nodes, and who may read whom.

A layer names the tree nodes that own an expert set and those for which it outputs a state.
Everything else follows from the tree: the input of a set, the sets that a gate may mix (the
hierarchy mask), and the input of the gate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from homespec.resolve.families import Family, Topology, depth_of, family_of
from homespec.resolve.tree import TreeNode
from homespec.schema import models
from homespec.schema.models import (
    ExpertSet,
    FeatureGate,
    LayerExperts,
    LayerGates,
    Mixture,
    SelfGate,
    Spec,
    Style,
    overlay,
)

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class SetPlan:
    """The expert set of a tree node, and the options of its experts.

    `sections` are the places that may set them, the most specific first.
    """

    node: TreeNode
    experts: ExpertSet
    sections: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: the sets S_k, the outputs O_k, and the resolved gates.

    `sections` are the places that may configure its experts, `gate_sections` its gates, the most
    specific first.
    """

    name: str
    sets: dict[str, SetPlan]
    outputs: tuple[TreeNode, ...]
    gates: LayerGates
    sections: tuple[Path, ...]
    gate_sections: tuple[Path, ...]

    def visible(self, node: TreeNode) -> list[SetPlan]:
        """The sets that the gate of `node` may mix, in order from the root.

        These are the sets on a root-to-leaf path with it: its ancestors', its own, and its
        descendants'. Without the mask, they are all sets.
        """
        above = [n.name for n in reversed(node.path)]
        below = [n.name for n in node.walk() if n is not node]
        names = (*above, *below) if self.gates.mixture.sees == "path" else self.sets
        return [self.sets[name] for name in names if name in self.sets]

    def foreign(self, node: TreeNode) -> list[SetPlan]:
        """The sets that the gate of `node` mixes without gradients to them: off its path."""
        if self.gates.mixture.sees != "forward":
            return []
        path = {*node.path, *node.walk()}
        return [plan for plan in self.visible(node) if plan.node not in path]


def layers_of(spec: Spec, root: TreeNode) -> tuple[Layer, ...]:
    """The layers of a family on the spec's tree, or those that the spec lists.

    Names that the tree does not have are left out, and the last entry of a list of meta layers that
    is too short also applies to the rest: rules HS208 to HS215 report both.
    """
    names = layer_names(depth_of(spec, root))
    family = family_of(spec)
    if family is None:
        nodes = {node.name: node for node in root.walk()}
        return tuple(_given_layer(spec, index, name, nodes) for index, name in enumerate(names))
    topologies = zip(names, family.topologies(root, len(names)), strict=False)
    return tuple(
        _family_layer(spec, family, topology, name, index)
        for index, (name, topology) in enumerate(topologies)
    )


def layer_names(layers: int) -> list[str]:
    """Default names of layers: meta, meta2, … and, for the last, task."""
    return [*("meta" if i == 1 else f"meta{i}" for i in range(1, layers)), "task"]


def _family_layer(spec: Spec, family: Family, topology: Topology, name: str, index: int) -> Layer:
    """A family's layer: `experts.all` and `.meta` or `.task` configure its experts."""
    scopes = [(spec.experts.all, ("experts", "all")), _scope(spec, "experts", name, index)]
    gates, gates_path = _scope(spec, "gates", name, index)
    levels = [family.experts, spec.experts]
    each = family.state_each and index > 0
    plans = [_family_set(node, levels, scopes, each) for node in topology.sets]
    return Layer(
        name,
        {plan.node.name: plan for plan in plans if plan.experts.count > 0},
        topology.outputs,
        _merged_gates(family.gates, spec.gates, gates),
        (scopes[1][1], ("experts", "all"), ("experts",), ("family",)),
        (gates_path, ("gates",)),
    )


def _scope(spec: Spec, section: str, name: str, index: int) -> tuple[Any, Path]:
    """The section for one layer: `task` for the last, else `meta`, or its entry in a list."""
    key = "task" if name == "task" else "meta"
    scope = getattr(getattr(spec, section), key)
    if isinstance(scope, tuple):
        return scope[min(index, len(scope) - 1)], (section, key, index)
    return scope, (section, key)


def _family_set(
    node: TreeNode,
    levels: list[Style],
    scopes: list[tuple[LayerExperts, Path]],
    each: bool,
) -> SetPlan:
    """Resolve one node's experts: the family, `experts`, then by scope its style, role and node."""
    styles: list[models.Model] = [*levels]
    if each:
        styles.insert(1, ExpertSet(inputs="each"))
    sections: list[Path] = [("family",), ("experts",)]
    for scope, path in scopes:
        styles += [scope, getattr(scope, node.role.value)]
        sections += [path, (*path, node.role.value)]
        if node.name in scope.nodes:
            styles.append(scope.nodes[node.name])
            sections.append((*path, "nodes", node.name))
    return SetPlan(node, overlay(*styles, to=ExpertSet), tuple(reversed(sections)))


def _given_layer(spec: Spec, index: int, name: str, nodes: dict[str, TreeNode]) -> Layer:
    """A layer that the spec lists, with sets in the order of the tree; `name` is the default."""
    given = spec.topology[index]
    path: Path = ("layers", index)
    sections = (path, ("experts",))
    sets = {}
    for node in (nodes[place] for place in nodes if place in given.experts):
        experts = overlay(spec.experts, given, given.experts[node.name], to=ExpertSet)
        own: Path = (*path, "experts", node.name)
        if experts.count > 0:
            sets[node.name] = SetPlan(node, experts, (own, *sections))
    outputs = set(given.outputs)
    return Layer(
        given.name or name,
        sets,
        tuple(nodes[place] for place in nodes if place in outputs),
        _merged_gates(spec.gates, given.gates),
        sections,
        ((*path, "gates"), ("gates",)),
    )


def _merged_gates(*levels: object) -> LayerGates:
    def merged(kind: str, to: type[models.M]) -> models.M:
        return overlay(*(getattr(level, kind) for level in levels), to=to)

    return LayerGates(
        mixture=merged("mixture", Mixture),
        feature=merged("feature", FeatureGate),
        self=merged("self", SelfGate),
    )


def states_each(layers: Sequence[Layer]) -> Iterator[dict[str, int]]:
    """For each layer, the nodes that have several states, and their number.

    There is one state for each expert of the node's set in the next layer, if those read a state
    each.
    """
    for after in (*layers[1:], None):
        sets = after.sets.values() if after else ()
        yield {p.node.name: p.experts.count for p in sets if p.experts.inputs == "each"}
