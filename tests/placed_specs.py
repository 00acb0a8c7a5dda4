"""Random places of features in the task tree; drawn by a generator of their own."""

from __future__ import annotations

import random
from typing import Any

from reference_plan import SHARED, Plan, Tree, places, plans

Spec = dict[str, Any]


def add_places(rng: random.Random, spec: Spec, probability: float = 0.3) -> None:
    """Now and then features at groups and tasks; the first feature stays at the root.

    A feature that nothing reads would be dead by design, so it goes back to the root.
    """
    own = random.Random(str(rng.getstate()))  # leaves what is drawn later as it was
    if own.random() > probability:
        return
    _, *names = spec["features"]
    tree, taken = Tree(spec), shared_tables(spec) | listed_by_gates(spec)
    for name in names:
        if name not in taken and own.random() < 0.6:
            place(own, spec, tree, name)
            if dead(spec):
                del spec["features"][name]["at"]


def place(rng: random.Random, spec: Spec, tree: Tree, name: str) -> None:
    """One node, or several where there may be a table at each; each choice begins simply."""
    feature = spec["features"][name]
    words = ["groups"] if len(tree.inner) > 1 else []
    one = rng.choice(tree.nodes)
    chosen: Any = rng.choice([one, [one]])
    if may_have_several(feature) and rng.random() < 0.6:
        others = [*tree.nodes, "tasks", *words]
        chosen = rng.choice(
            ["tasks", [SHARED, "tasks"], [SHARED, one], others[: rng.randint(2, 4)]]
        )
        chosen = list(dict.fromkeys(chosen)) if isinstance(chosen, list) else chosen
    feature["at"] = chosen


def may_have_several(feature: Spec) -> bool:
    """Whether a feature has a table whose rows the spec says how to find."""
    if "id" in feature:
        return not isinstance(feature["id"].get("vocab"), dict)
    return isinstance(feature.get("bucketize"), list)


def listed_by_gates(spec: Spec) -> set[str]:
    """Features that gates read by name, which all nodes can read."""
    given = repr([spec.get("gates"), spec.get("layers")])
    return {name for name in spec["features"] if repr(name) in given}


def shared_tables(spec: Spec) -> set[str]:
    """Features in whose tables others are looked up."""
    found = set()
    for feature in spec["features"].values():
        found.add(feature.get("table"))
        found |= {*feature.get("cross", {}).get("of", ())}
        sequence = feature.get("sequence", {})
        found |= {*sequence.get("of", ())}
        found |= {field.get("table") for field in sequence.get("with", {}).values()}
    return found


def dead(spec: Spec) -> bool:
    """Whether some feature, or one of its tables, is read by no set and no gate with a choice."""
    tree, first = Tree(spec), plans(spec)[0]
    reading = {node: nearest_tables(spec, tree, node) for node in tree.nodes}
    alive = {table for node in first.sets for table in reading[first.source(node)]}
    for node in first.outputs:
        if sum(first.expert(m)["count"] for m in first.visible(node)) > 1:
            alive |= {table for near in gate_reads(first, node) for table in reading[near]}
    every = {(n, p) for n, f in spec["features"].items() for p in places(f, tree)}
    return bool(every - alive)


def gate_reads(plan: Plan, node: str) -> list[str]:
    """The nodes whose features the gate of a node of the first layer reads."""
    near = [m for m in reversed(plan.tree.path(node)) if m in plan.inputs]
    read = plan.gate("mixture")["input"]
    if read == "none":
        return []
    if isinstance(read, str):
        return near if read == "path" else near[:1]
    return near if "path" in read else near[:1] * ("own" in read or "v" in read)


def nearest_tables(spec: Spec, tree: Tree, node: str) -> set[tuple[str, str]]:
    """The tables that a node reads, by feature and place."""
    found = {
        n: [m for m in tree.path(node) if m in places(f, tree)] for n, f in spec["features"].items()
    }
    return {(name, near[-1]) for name, near in found.items() if near}
