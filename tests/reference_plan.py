"""Oracle, first half: what a spec means, from its plain dict and the language's own defaults.

Task tree, layers, options and the hierarchy mask (HOME.md section 7). No tensor, no homespec.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
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
    "dropout": 0.0,
}
GATES: dict[str, dict[str, Any]] = {
    "mixture": {
        "hidden": [],
        "hidden_activation": "relu",
        "input": "path",
        "detach": False,
        "sees": "path",
        "gated": False,
    },
    "feature": {
        "input": "own",
        "detach": False,
        "activation": "none",
        "loras": 2,
        "rank": 16,
        "mix": "after_sigmoid",
    },
    "self": {
        "hidden": [],
        "hidden_activation": "relu",
        "input": "ungated",
        "detach": False,
        "sets": "outputs",
    },
}
TOWERS: dict[str, Any] = {
    "hidden": [64],
    "activation": "relu",
    "norm": "none",
    "norm_eps": 1e-5,
    "norm_momentum": 0.1,
    "dropout": 0.0,
}
SETS: dict[str, Any] = {"count": 2, "inputs": "one"}

# The families other than HoME as published: ReLU behind every layer, mixture gates alone.
RELU = {"norm": "none", "activation": "relu"}
STACKED = {
    "home": None,
    "ple": 2,
    "stem": 1,
    "ml_mmoe": 2,
}  # usual number of layers; the others have one


class Tree:
    """The task tree: root, groups (they may nest), tasks as leaves."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.groups: dict[str, list[str]] = spec.get("groups", {})
        self.tasks = list(spec["tasks"])
        members = [m for group in self.groups.values() for m in group]
        outermost = [n for n in [*self.groups, *self.tasks] if n not in members]
        self.children = {SHARED: outermost, **self.groups, **{t: [] for t in self.tasks}}
        self.nodes = [SHARED, *self.below(SHARED)]
        self.inner = [n for n in self.nodes if n not in self.tasks]
        self.leaves = [n for n in self.nodes if n in self.tasks]
        self.nesting = max((self.depth(g) for g in self.groups), default=0)

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


def short(given: Any) -> dict[str, Any]:
    """An expert set as a mapping; an int is short for its count."""
    return {"count": given} if isinstance(given, int) else given


class Plan:
    """One layer: which nodes own expert sets, which it outputs, which states it reads.

    `candidates` are the nodes that may own experts, `inputs` those with a state in the layer
    before. `several` says which outputs are several values, one for each expert that reads them.
    """

    name: str
    candidates: list[str]
    outputs: list[str]

    def __init__(self, spec: dict[str, Any], tree: Tree, index: int, inputs: list[str]) -> None:
        self.spec, self.tree, self.index, self.inputs = spec, tree, index, inputs
        self.several: dict[str, int] = {}

    @cached_property
    def sets(self) -> list[str]:
        """The candidates that own experts, in the order of the tree."""
        return [n for n in self.candidates if self.expert(n)["count"] > 0]

    def expert_levels(self, node: str) -> list[Any]:
        """What the spec says of a node's experts, the most general first."""
        raise NotImplementedError

    def gate_levels(self) -> list[dict[str, Any]]:
        """What the spec says of the layer's gates, the most general first."""
        raise NotImplementedError

    def expert(self, node: str) -> dict[str, Any]:
        """Style and count of a node's expert set: key by key, the most specific place wins."""
        options = {**STYLE, **SETS}
        for given in map(short, self.expert_levels(node)):
            options |= {k: v for k, v in given.items() if k in options}
        return options

    def gate(self, kind: str) -> dict[str, Any] | None:
        """The options of this layer's gates of a kind; None where they are switched off."""
        options, on = dict(GATES[kind]), True
        for place in self.gate_levels():
            given = place.get(kind)
            if isinstance(given, bool):
                on = given
            elif given is not None:  # a mapping switches on, whatever stands further out
                on, options = True, options | given
        return options if on else None

    def visible(self, node: str) -> list[str]:
        """The sets that `node` may mix: the hierarchy mask. Down the path, then descendants."""
        if self.gate("mixture")["sees"] != "path":
            return self.sets
        return [m for m in [*self.tree.path(node), *self.tree.below(node)] if m in self.sets]

    def source(self, node: str) -> str:
        """The node whose state the set at `node` reads."""
        return self.tree.nearest(node, self.inputs)

    def reads_each(self, node: str) -> bool:
        """Whether every expert of `node` reads a state of its own (ML-MMoE)."""
        return self.expert(node)["inputs"] == "each"

    def gate_states(self, node: str) -> list[str]:
        """The states that the gate of `node` reads and sends gradients into."""
        gate = self.gate("mixture")
        taken = [gate["input"]] if isinstance(gate["input"], str) else gate["input"]
        cut = taken if gate["detach"] is True else gate["detach"] or []
        return [m for word in taken if word not in cut for m in self.states_of(node, word)]

    def states_of(self, node: str, word: str) -> list[str]:
        """The states that a word means to the gate of `node`: its path's, nearest first, or one.

        None behind the first layer where it means the features.
        """
        if word not in ("path", "own", "v") or (word == "v" and self.index > 0):
            return []
        if word == "v":
            return [self.source(node)]
        if word == "path":
            return [m for m in reversed(self.tree.path(node)) if m in self.inputs]
        return [self.source(node)]

    def gated_by(self, node: str, state: str) -> str | None:
        """`gated: true`: the deepest set on the path that reads `state` lends its copy."""
        readers = [m for m in self.tree.path(node) if m in self.sets and self.source(m) == state]
        return readers[-1] if readers else None


class FamilyPlan(Plan):
    """A layer of a family, with the nodes S_k and O_k of HOME.md's table."""

    def __init__(
        self, spec: dict[str, Any], tree: Tree, index: int, inputs: list[str], layers: int
    ) -> None:
        super().__init__(spec, tree, index, inputs)
        self.family = spec.get("family", "home")
        self.kind = "task" if index == layers - 1 else "meta"
        self.name = "task" if self.kind == "task" else f"meta{index + 1}" if index else "meta"
        self.candidates, self.outputs = self.nodes(layers)

    def nodes(self, layers: int) -> tuple[list[str], list[str]]:
        """S_k and O_k."""
        tree, last = self.tree, self.kind == "task"
        if self.family in ("moe", "shared_bottom"):
            return [SHARED], [SHARED]
        if self.family == "home" and not last:
            # One level of groups more with each layer, such that the last meta layer has all.
            deepest = self.index + 1 + max(0, tree.nesting - (layers - 1))
            inner = [n for n in tree.inner if tree.depth(n) <= deepest]
            return inner, inner
        own = tree.inner if self.family in ("mmoe", "ml_mmoe") else tree.nodes
        return own, tree.leaves if last else own

    def section(self, name: str) -> dict[str, Any]:
        """What the spec says of this layer under `experts` or `gates`."""
        given = self.spec.get(name, {}).get(self.kind, {})
        return given[self.index] if isinstance(given, list) else given

    def expert_levels(self, node: str) -> list[Any]:
        experts = self.spec.get("experts", {})
        levels = [{} if self.family == "home" else RELU]
        if self.family == "shared_bottom":
            levels.append({"count": 1})
        if self.family == "ml_mmoe" and self.index > 0:
            levels.append({"inputs": "each"})
        levels.append(experts)
        for scope in (experts.get("all", {}), self.section("experts")):
            role, own = scope.get(self.tree.role(node), {}), scope.get("nodes", {}).get(node, {})
            levels += [scope, role, own]
        return levels

    def gate_levels(self) -> list[dict[str, Any]]:
        published: dict[str, Any] = {}
        if self.family != "home":
            source = "v" if self.family == "ml_mmoe" else "own"
            published = {"mixture": {"input": source}, "feature": False, "self": False}
            if self.family == "stem":
                published["mixture"] = {"input": "path", "sees": "forward"}
        return [published, self.spec.get("gates", {}), self.section("gates")]


class GivenPlan(Plan):
    """A layer of a free topology, as the spec gives it."""

    def __init__(self, spec: dict[str, Any], tree: Tree, index: int, inputs: list[str]) -> None:
        super().__init__(spec, tree, index, inputs)
        self.given: dict[str, Any] = spec["layers"][index]
        last = index == len(spec["layers"]) - 1
        usual = "task" if last else f"meta{index + 1}" if index else "meta"
        self.name = self.given.get("name", usual)

    @property
    def candidates(self) -> list[str]:
        return [n for n in self.tree.nodes if n in self.given["experts"]]

    @property
    def outputs(self) -> list[str]:
        return [n for n in self.tree.nodes if n in self.given["outputs"]]

    def expert_levels(self, node: str) -> list[Any]:
        return [self.spec.get("experts", {}), self.given, self.given["experts"].get(node, 0)]

    def gate_levels(self) -> list[dict[str, Any]]:
        return [self.spec.get("gates", {}), self.given.get("gates", {})]


def places(feature: dict[str, Any], tree: Tree) -> list[str]:
    """The nodes that a feature belongs to, in the order of the tree."""
    at = feature.get("at", SHARED)
    named = [at] if isinstance(at, str) else at
    words = {"tasks": tree.leaves, "groups": [n for n in tree.inner if n != SHARED]}
    every = [node for word in named for node in words.get(word, ())]
    return [node for node in tree.nodes if node in named or node in every]


def reading_nodes(spec: dict[str, Any], tree: Tree) -> list[str]:
    """The root, and the nodes at which there are features: those with a v of their own."""
    at = [node for feature in spec["features"].values() for node in places(feature, tree)]
    return [node for node in tree.nodes if node == SHARED or node in at]


def plans(spec: dict[str, Any]) -> list[Plan]:
    """The layers in order."""
    tree = Tree(spec)
    given = spec.get("layers", STACKED.get(spec.get("family", "home"), 1) or tree.nesting + 1)
    layers: list[Plan] = []
    for index in range(given if isinstance(given, int) else len(given)):
        inputs = layers[-1].outputs if layers else reading_nodes(spec, tree)
        if isinstance(given, int):
            layers.append(FamilyPlan(spec, tree, index, inputs, given))
        else:
            layers.append(GivenPlan(spec, tree, index, inputs))
    for plan, after in pairwise(layers):
        each = [n for n in after.sets if after.reads_each(n)]
        plan.several = {n: after.expert(n)["count"] for n in each}
    return layers
