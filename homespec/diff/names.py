"""Identity across two specs: nodes and names of the old one under the names of the new one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from homespec.graph.nodes import Feature as FeatureNode
from homespec.graph.nodes import Node, Objective, Placed, Product, Tower
from homespec.graph.sequences import Sequence
from homespec.schema.models import Feature, Group, Spec, Task

Key = tuple[str, ...]
"""What identifies a node in both graphs: its kind, then layer and place, task or feature."""


@dataclass(frozen=True, slots=True)
class Renames:
    """New names by old ones; what is not in them keeps its name.

    `places` are tasks and groups, which share the task tree.
    """

    features: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    def feature(self, name: str) -> str:
        """A feature, or a field of a sequence: `history.video_id`."""
        head, dot, rest = name.partition(".")
        return self.features.get(head, head) + dot + rest

    def place(self, name: str) -> str:
        """A place in the task tree, or one of its several states: `watch.0`."""
        head, dot, rest = name.partition(".")
        return self.places.get(head, head) + dot + rest

    def key(self, node: Node) -> Key:
        """The identity of a node under the new names."""
        match node:
            case Placed():
                return (node.kind, node.layer, self.place(node.place))
            case Tower() | Product() | Objective():
                return (node.kind, self.place(node.task))
            case FeatureNode() | Sequence():
                return (node.kind, self.feature(node.short))
        return (node.kind,)


def renames_of(old: Spec, new: Spec) -> Renames:
    """What `was` in the new spec says of names in the old one.

    A `was` of which the old spec knows nothing, or knows the new name already, is of a change
    before.
    """
    groups, tasks = _renamed(old.groups, new.groups), _renamed(old.tasks, new.tasks)
    return Renames(_renamed(old.features, new.features), {**groups, **tasks})


def _renamed(old: Iterable[str], new: Mapping[str, Feature | Group | Task]) -> dict[str, str]:
    names = set(old)
    return {
        thing.was: name for name, thing in new.items() if thing.was in names and name not in names
    }


SAME = Renames()
"""Nothing is renamed."""
