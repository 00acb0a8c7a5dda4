"""The nodes of the task tree that features belong to (`at`), and the features that a node reads."""

from __future__ import annotations

from homespec.resolve.tree import Role, TreeNode
from homespec.schema.models import Feature

EVERY = {"tasks": Role.TASK, "groups": Role.GROUP}
"""The words for all nodes of a role; a node that has the name itself comes first."""


def places_of(feature: Feature, root: TreeNode) -> tuple[TreeNode, ...]:
    """The nodes that a feature belongs to, in the order of the tree.

    Names that the tree does not have are left out: rule HS251 reports them.
    """
    named = set(feature.places)
    words = {EVERY[word] for word in named & EVERY.keys() if word not in _names(root)}
    return tuple(node for node in root.walk() if node.name in named or node.role in words)


def is_place(name: str, root: TreeNode) -> bool:
    """Whether `at` may have this name: that of a node, or a word for nodes that there are."""
    return name in _names(root) or (name in EVERY and bool(root.of(EVERY[name])))


def _names(root: TreeNode) -> set[str]:
    return {node.name for node in root.walk()}


def nearest(node: TreeNode, places: tuple[TreeNode, ...]) -> TreeNode | None:
    """The place from which a node reads a feature: the first on its way to the root."""
    return next((step for step in node.path if step in places), None)


def placed(feature: Feature, root: TreeNode) -> tuple[TreeNode, ...]:
    """The nodes that a feature belongs to; the root where its `at` names no node that there is."""
    return places_of(feature, root) or (root,)
