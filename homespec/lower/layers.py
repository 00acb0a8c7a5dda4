"""The law of the family (HOME.md section 7): layers of tree nodes, and who may read whom.

A layer names the tree nodes that own an expert set and those for which it outputs a state. All
else follows from the tree: what a set reads, which sets a gate may mix (the hierarchy mask), what
the gate itself reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from homespec.lower.tree import Role, TreeNode, nesting
from homespec.schema.models import (
    ExpertSet,
    FeatureGate,
    LayerGates,
    MetaLayer,
    Mixture,
    SelfGate,
    Spec,
    overlay,
)

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class SetPlan:
    """The expert set of a tree node: its resolved style, and the place in the spec that says so."""

    node: TreeNode
    experts: ExpertSet
    path: Path


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: the sets S_k, the outputs O_k, and the resolved gates."""

    name: str
    sets: dict[str, SetPlan]
    outputs: tuple[TreeNode, ...]
    gates: LayerGates
    path: Path
    gates_path: Path

    def visible(self, node: TreeNode) -> list[SetPlan]:
        """The sets on one root-to-leaf path with `node`: from the root to it, then below it."""
        above = [n.name for n in reversed(node.path)]
        below = [n.name for n in node.walk() if n is not node]
        return [self.sets[name] for name in (*above, *below) if name in self.sets]


def expand(spec: Spec, root: TreeNode) -> list[Layer]:
    """HoME on any tree: one meta layer for each level of nesting, then the task layer."""
    return [*_meta_layers(spec, root), _task_layer(spec, root)]


def meta_names(root: TreeNode) -> list[str]:
    """Names of the layers before the last: meta, meta2, …"""
    return ["meta" if depth == 1 else f"meta{depth}" for depth in range(1, nesting(root) + 1)]


def _meta_layers(spec: Spec, root: TreeNode) -> Iterator[Layer]:
    """Meta layer k has sets and outputs at the root and at all groups of depth k and less."""
    for depth, name in enumerate(meta_names(root), start=1):
        given, path = _of_layer(spec.experts.meta, "experts", depth)
        gates, gates_path = _of_layer(spec.gates.meta, "gates", depth)
        nodes = [n for n in root.walk() if n.role is not Role.TASK and n.depth <= depth]
        yield Layer(
            name,
            _sets(spec, given, path, nodes),
            tuple(nodes),
            _merged_gates(spec, gates),
            path,
            gates_path,
        )


def _task_layer(spec: Spec, root: TreeNode) -> Layer:
    path: Path = ("experts", "task")
    return Layer(
        "task",
        _sets(spec, spec.experts.task, path, list(root.walk())),
        tuple(root.of(Role.TASK)),
        _merged_gates(spec, spec.gates.task),
        path,
        ("gates", "task"),
    )


def _of_layer(given: object, section: str, depth: int) -> tuple[object, Path]:
    """The entry of one meta layer: the mapping that holds for all, or the list's own."""
    if isinstance(given, tuple):
        return given[depth - 1], (section, "meta", depth - 1)
    return given, (section, "meta")


def _sets(spec: Spec, given: object, path: Path, nodes: list[TreeNode]) -> dict[str, SetPlan]:
    assert isinstance(given, MetaLayer)
    plans = [_set_of(spec, given, path, node) for node in nodes]
    return {plan.node.name: plan for plan in plans if plan.experts.count > 0}


def _set_of(spec: Spec, layer: MetaLayer, path: Path, node: TreeNode) -> SetPlan:
    """Resolve one node's experts: spec-wide style, layer, role, then the node's own exception."""
    role: ExpertSet = getattr(layer, node.role.value)
    levels = [spec.experts, layer, role]
    where = (*path, node.role.value)
    if node.name in layer.nodes:
        levels.append(layer.nodes[node.name])
        where = (*path, "nodes", node.name)
    return SetPlan(node, overlay(*levels, to=ExpertSet), where)


def _merged_gates(spec: Spec, given: object) -> LayerGates:
    assert isinstance(given, LayerGates)
    return LayerGates(
        mixture=overlay(spec.gates.mixture, given.mixture, to=Mixture),
        feature=overlay(spec.gates.feature, given.feature, to=FeatureGate),
        self=overlay(spec.gates.self, given.self, to=SelfGate),
    )
