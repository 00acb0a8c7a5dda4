"""Health: remedies for findings, as changes of the spec (`--set PATH=VALUE`)."""

from __future__ import annotations

from homespec.graph.nodes import ExpertSet, Placed
from homespec.lower import Lowered
from homespec.resolve.layers import Layer, Path
from homespec.resolve.tree import Role

NO_TASK_EXPERTS = {"mmoe": "cgc", "ml_mmoe": "ple"}
"""Families without experts of tasks, and the family that adds only those."""


def set_options(*changes: tuple[Path, object]) -> str:
    """Changes as options of the command line: `--set a.b=1 --set c=2`."""
    return " ".join(f"--set {'.'.join(map(str, path))}={value}" for path, value in changes)


def layer_of(lowered: Lowered, node: Placed) -> Layer:
    """The layer of a node."""
    return next(layer for layer in lowered.layers if layer.name == node.layer)


def normalise(lowered: Lowered, node: ExpertSet) -> str:
    """HoME's norm and activation for a set; "" if it has them already."""
    wanted = {"norm": "batch", "activation": "swish"}
    changes = [
        (_style_path(lowered, node, key), value)
        for key, value in wanted.items()
        if getattr(node, key) != value
    ]
    return set_options(*changes)


def _style_path(lowered: Lowered, node: ExpertSet, key: str) -> Path:
    """The section that gives a key of experts, else the section for all experts."""
    sections = layer_of(lowered, node).sets[node.place].sections
    given = next((path for path in sections if lowered.has((*path, key))), ("experts",))
    return (*given, key)


def fewer(lowered: Lowered, node: ExpertSet) -> str:
    """One expert fewer in a set; "" if the family sets the number."""
    return _count(lowered, node, node.count - 1)


def more(lowered: Lowered, node: ExpertSet) -> str:
    """One expert more in a set."""
    return _count(lowered, node, node.count + 1)


def _count(lowered: Lowered, node: ExpertSet, count: int) -> str:
    if lowered.spec.family == "shared_bottom":
        return ""
    return set_options(((*_place(lowered, node), "count"), count))


def _place(lowered: Lowered, node: ExpertSet) -> Path:
    """The section of one node's experts in one layer."""
    layers, spec = lowered.layers, lowered.spec
    index = layers.index(layer_of(lowered, node))
    if isinstance(spec.layers, tuple):
        return ("layers", index, "experts", node.place)
    key: Path = ("experts", "task")
    if index < len(layers) - 1:
        is_list = isinstance(spec.experts.meta, tuple)
        key = ("experts", "meta", index) if is_list else ("experts", "meta")
    is_root = lowered.root.name == node.place
    return (*key, Role.SHARED.value) if is_root else (*key, "nodes", node.place)


def own_experts(lowered: Lowered, layer: str, owner: str) -> str:
    """More experts of its own for a node that has taken over a shared one."""
    own = lowered.graph
    name = f"experts.{layer}.{owner}"
    if name in own:
        node = own[name]
        assert isinstance(node, ExpertSet)
        return more(lowered, node)
    family = NO_TASK_EXPERTS.get(str(lowered.spec.family))
    if family:
        return set_options((("family",), "home" if lowered.spec.groups else family))
    return ""


def gate_option(lowered: Lowered, node: Placed, kind: str, key: str, value: object) -> str:
    """An option of gates, set in the layer if that has its own section for this kind of gate."""
    sections = layer_of(lowered, node).gate_sections
    section = next((path for path in sections if lowered.has((*path, kind))), ("gates",))
    path: Path = (*section, kind, key) if key else (*section, kind)
    return set_options((path, value))
