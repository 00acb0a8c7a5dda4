"""The identity of nodes in two graphs, in which some may have different names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from homespec.graph.feature_nodes import Feature, Input, Reading
from homespec.graph.nodes import Node, Objective, Placed, Product, Tower
from homespec.graph.sequences import Sequence
from homespec.schema.identifiers import ROOT

Key = tuple[str, ...]
"""The identity of a node in both graphs: its kind, then layer and place, task or feature."""


@dataclass(frozen=True, slots=True)
class Renames:
    """New names by old ones; all other nodes keep their names.

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
            case Feature() if node.one_of_several and node.place != ROOT:
                return (node.kind, self.feature(node.short), self.place(node.place))
            case Feature() | Sequence():
                return (node.kind, self.feature(node.short))
        return (node.kind,)

    def value(self, node: Node) -> Key:
        """The identity of a node's value; all readings of features count as v."""
        return (Input.kind,) if isinstance(node, Reading) else self.key(node)


SAME = Renames()
"""No renames."""
