"""The families as instances of the law (HOME.md section 7): which nodes own experts or states.

A family is a choice of tree nodes, and the style of its experts as published. Everything else, the
mask included, follows from the law in `layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from homespec.resolve.tree import Role, TreeNode, nesting
from homespec.schema.models import ExpertSet, FeatureGate, LayerGates, M, Mixture, SelfGate, Spec


@dataclass(frozen=True, slots=True)
class Topology:
    """One layer in terms of the tree: the nodes S_k with expert sets and O_k with states."""

    sets: tuple[TreeNode, ...]
    outputs: tuple[TreeNode, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """A family: its title, its layers on a tree, and the defaults of its experts and gates.

    `stacks` is the default number of layers, or None if the family has one layer by definition.
    HoME has one layer more than the depth of its groups.
    """

    title: str
    topologies: Callable[[TreeNode, int], Iterator[Topology]]
    stacks: int | None
    experts: ExpertSet
    gates: LayerGates
    state_each: bool = False
    """Whether experts after the first layer read a state each (ML-MMoE)."""


def family_of(spec: Spec) -> Family | None:
    """The family of a spec; None for a topology given by hand."""
    return None if spec.topology else FAMILIES[spec.family]


def title_of(spec: Spec) -> str:
    """The name of the architecture."""
    family = family_of(spec)
    return family.title if family else "Free topology"


def depth_of(spec: Spec, root: TreeNode) -> int:
    """Number of layers of the model."""
    if spec.topology:
        return len(spec.topology)
    if isinstance(spec.layers, int):
        return spec.layers
    return nesting(root) + 1 if spec.family == "home" else FAMILIES[spec.family].stacks or 1


def _home(root: TreeNode, layers: int) -> Iterator[Topology]:
    """Each meta layer descends one level of groups; the last of them has all groups."""
    skip = max(0, nesting(root) - (layers - 1))
    for level in range(1, layers):
        nodes = tuple(node for node in _inner(root) if node.depth <= level + skip)
        yield Topology(nodes, nodes)
    yield Topology(tuple(root.walk()), _tasks(root))


def _ple(root: TreeNode, layers: int) -> Iterator[Topology]:
    """Every node has experts and a state; in the last layer (CGC) only the tasks have states."""
    return _stacked(tuple(root.walk()), root, layers)


def _mmoe(root: TreeNode, layers: int) -> Iterator[Topology]:
    """The root and the groups own experts, and every task has a gate; stacked, this is ML-MMoE."""
    return _stacked(tuple(_inner(root)), root, layers)


def _stacked(nodes: tuple[TreeNode, ...], root: TreeNode, layers: int) -> Iterator[Topology]:
    for _ in range(layers - 1):
        yield Topology(nodes, nodes)
    yield Topology(nodes, _tasks(root))


def _moe(root: TreeNode, layers: int) -> Iterator[Topology]:
    """One set and one state at the root, which all towers read."""
    yield Topology((root,), (root,))


def _inner(root: TreeNode) -> list[TreeNode]:
    """The root and the groups."""
    return [node for node in root.walk() if node.role is not Role.TASK]


def _tasks(root: TreeNode) -> tuple[TreeNode, ...]:
    return tuple(root.of(Role.TASK))


def _with(to: type[M], **given: object) -> M:
    """A section of a spec with these keys."""
    return to.model_construct(set(given), **given)


def _bare(gate_input: str, **more: str) -> LayerGates:
    """Only mixture gates."""
    return _with(
        LayerGates,
        mixture=_with(Mixture, input=gate_input, **more),
        feature=_with(FeatureGate, enabled=False),
        self=_with(SelfGate, enabled=False),
    )


RELU = _with(ExpertSet, norm="none", activation="relu")
"""Experts as published before HoME: MLPs with ReLU after every layer, including the last."""

ONE = _with(ExpertSet, norm="none", activation="relu", count=1)

FAMILIES = {
    "home": Family("HoME", _home, 2, _with(ExpertSet), LayerGates.model_construct()),
    "cgc": Family("CGC", _ple, None, RELU, _bare("own")),
    "ple": Family("PLE", _ple, 2, RELU, _bare("own")),
    "stem": Family("STEM", _ple, 1, RELU, _bare("path", sees="forward")),
    "mmoe": Family("MMoE", _mmoe, None, RELU, _bare("own")),
    "ml_mmoe": Family("ML-MMoE", _mmoe, 2, RELU, _bare("v"), state_each=True),
    "shared_bottom": Family("Shared-Bottom", _moe, None, ONE, _bare("own")),
    "moe": Family("MoE with one gate", _moe, None, RELU, _bare("own")),
}
"""Sources: MMoE Ma et al. 2018; CGC and PLE Tang et al. 2020; STEM Su et al. 2024; HoME Wang et al.
2025."""
