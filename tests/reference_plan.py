"""Oracle, first half: what a spec means, from its plain dict and the language's own defaults.

Task tree, layers, options and the hierarchy mask (HOME.md section 7). No tensor, no homespec.
"""

from __future__ import annotations

from typing import Any

SHARED = "shared"  # the root's name

STYLE: dict[str, Any] = {
    "hidden": [],
    "width": 64,
    "norm": "batch",
    "activation": "swish",
    "hidden_activation": "relu",
    "norm_eps": 1e-5,
    "norm_momentum": 0.1,
}
GATES: dict[str, dict[str, Any]] = {
    "mixture": {"hidden": [], "hidden_activation": "relu", "input": "path", "gated": False},
    "feature": {"loras": 2, "rank": 16, "mix": "after_sigmoid"},
    "self": {"hidden": [], "hidden_activation": "relu", "input": "ungated", "sets": "outputs"},
}
TOWERS: dict[str, Any] = {"hidden": [64], "activation": "relu"}
COUNT = 2


class Tree:
    """The task tree: root, groups (they may nest), tasks as leaves."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.groups: dict[str, list[str]] = spec["groups"]
        self.tasks = list(spec["tasks"])
        members = [m for group in self.groups.values() for m in group]
        top_groups = [g for g in self.groups if g not in members]
        self.children = {SHARED: top_groups, **self.groups, **{t: [] for t in self.tasks}}
        self.nodes = [SHARED, *self.below(SHARED)]

    def below(self, node: str) -> list[str]:
        """Every descendant of a node, in pre-order."""
        found = []
        for child in self.children[node]:
            found += [child, *self.below(child)]
        return found

    def path(self, node: str) -> list[str]:
        """The nodes from the root down to `node`, both included."""
        return [m for m in self.nodes if m == node or node in self.below(m)]

    def depth(self, node: str) -> int:
        return len(self.path(node)) - 1

    def role(self, node: str) -> str:
        if node == SHARED:
            return "shared"
        return "group" if node in self.groups else "task"

    def nearest(self, node: str, states: list[str]) -> str:
        """The nearest ancestor-or-self of `node` that has a state."""
        return [m for m in self.path(node) if m in states][-1]


class Plan:
    """One layer: which nodes own expert sets, which it outputs, which states it reads."""

    def __init__(self, spec: dict[str, Any], tree: Tree, index: int, inputs: list[str]) -> None:
        self.spec, self.tree, self.index, self.inputs = spec, tree, index, inputs
        depths = max(tree.depth(g) for g in tree.groups)
        self.kind = "meta" if index < depths else "task"
        groups = [n for n in tree.nodes if n in tree.groups]
        if self.kind == "meta":
            self.name = "meta" if index == 0 else f"meta{index + 1}"
            self.candidates = [SHARED] + [g for g in groups if tree.depth(g) <= index + 1]
            self.outputs = self.candidates
        else:
            self.name = "task"
            self.candidates = tree.nodes
            self.outputs = [n for n in tree.nodes if n in tree.tasks]
        self.sets = [n for n in self.candidates if self.expert(n)["count"] > 0]

    def section(self, name: str) -> dict[str, Any]:
        """What the spec says of this layer under `experts` or `gates`."""
        given = self.spec.get(name, {}).get(self.kind, {})
        return given[self.index] if isinstance(given, list) else given

    def expert(self, node: str) -> dict[str, Any]:
        """Style and count of a node's expert set: key by key, the most specific place wins."""
        options = {**STYLE, "count": COUNT}
        layer = self.section("experts")
        role = layer.get(self.tree.role(node), {})
        own = layer.get("nodes", {}).get(node, {})
        for given in (self.spec.get("experts", {}), layer, role, own):
            if isinstance(given, int):
                given = {"count": given}
            options |= {k: v for k, v in given.items() if k in options}
        return options

    def gate(self, kind: str) -> dict[str, Any] | None:
        """The options of this layer's gates of a kind; None where they are switched off."""
        options, on = dict(GATES[kind]), True
        for place in (self.spec.get("gates", {}), self.section("gates")):
            given = place.get(kind)
            if isinstance(given, bool):
                on = given
            elif given is not None:  # a mapping switches on, whatever stands further out
                on, options = True, options | given
        return options if on else None

    def visible(self, node: str) -> list[str]:
        """The sets that `node` may mix: the hierarchy mask. Down the path, then descendants."""
        return [m for m in [*self.tree.path(node), *self.tree.below(node)] if m in self.sets]

    def source(self, node: str) -> str:
        """The node whose state the set at `node` reads."""
        return self.tree.nearest(node, self.inputs)

    def gate_states(self, node: str) -> list[str]:
        """The states that the gate of `node` reads: its path's, nearest first, or only that."""
        if self.gate("mixture")["input"] == "own":
            return [self.source(node)]
        return [m for m in reversed(self.tree.path(node)) if m in self.inputs]

    def gated_by(self, node: str, state: str) -> str | None:
        """`gated: true`: the deepest set on the path that reads `state` lends its copy."""
        readers = [m for m in self.tree.path(node) if m in self.sets and self.source(m) == state]
        return readers[-1] if readers else None


def plans(spec: dict[str, Any]) -> list[Plan]:
    """The layers in order: one meta layer per level of nesting, then the task layer."""
    tree = Tree(spec)
    layers: list[Plan] = []
    for index in range(max(tree.depth(g) for g in tree.groups) + 1):
        inputs = layers[-1].outputs if layers else [SHARED]
        layers.append(Plan(spec, tree, index, inputs))
    return layers
