"""The task tree: root, groups (nested by naming a group as a member), tasks as leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from homespec.schema.identifiers import ROOT
from homespec.schema.models import Spec

MAX_NESTING = 8
"""Maximum depth of groups. Each level adds a layer, and real products have two or three."""


class Role(StrEnum):
    """The role of a node of the task tree; also the keys under which the spec counts experts."""

    SHARED = "shared"
    GROUP = "group"
    TASK = "task"


@dataclass(slots=True, eq=False)
class TreeNode:
    """A node of the task tree. `depth` is 0 at the root and 1 at the outermost groups."""

    name: str
    role: Role
    parent: TreeNode | None = None
    children: list[TreeNode] = field(default_factory=list)

    @property
    def path(self) -> list[TreeNode]:
        """The node and its ancestors, from the nearest to the root."""
        return [self, *(self.parent.path if self.parent else [])]

    @property
    def depth(self) -> int:
        """Number of steps from the root to the node."""
        return len(self.path) - 1

    def walk(self) -> Iterator[TreeNode]:
        """The node and its descendants in pre-order, children in the order of the spec."""
        yield self
        for child in self.children:
            yield from child.walk()

    def of(self, role: Role) -> list[TreeNode]:
        """The nodes of one role in this subtree, in pre-order."""
        return [node for node in self.walk() if node.role is role]


def tree_of(spec: Spec) -> TreeNode:
    """The task tree of a spec.

    Tasks and groups that no group lists are directly below the root; products of tasks have no
    node. Undeclared members, second memberships and groups that are nested too deeply are left out:
    rules HS201 to HS207 report them.
    """
    members = {member for group in spec.groups.values() for member in group.members}
    root = TreeNode(ROOT, Role.SHARED)
    placed: set[str] = set()

    def grow(names: Iterable[str], parent: TreeNode, depth: int) -> None:
        for name in names:
            is_group = name in spec.groups
            if name in placed or not (is_group or name in spec.tasks):
                continue
            placed.add(name)
            node = TreeNode(name, Role.GROUP if is_group else Role.TASK, parent)
            parent.children.append(node)
            if is_group and depth <= MAX_NESTING:
                grow(spec.groups[name].members, node, depth + 1)

    towered = [name for name, task in spec.tasks.items() if not task.product]
    grow((name for name in (*spec.groups, *towered) if name not in members), root, 1)
    return root


def nesting(root: TreeNode) -> int:
    """Depth of the groups: 1 if no group is a member of another, 0 without groups."""
    return max((node.depth for node in root.of(Role.GROUP)), default=0)
