"""Random edits of a spec such as teams make, with what was renamed by them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Spec = dict[str, Any]


@dataclass
class Edit:
    """An edited spec, and the new names of what has another."""

    spec: Spec
    features: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)


def random_edit(rng: random.Random, spec: Spec, most: int = 3) -> Edit:
    """A spec with one to `most` edits; it may have become unsound."""
    edit = Edit(copy.deepcopy(spec))
    edit.spec.setdefault("groups", {})
    for _ in range(rng.randint(1, most)):
        rng.choice(EDITS)(rng, edit)
    return edit


def _home_of(spec: Spec, name: str) -> list[str] | None:
    return next((members for members in spec["groups"].values() if name in members), None)


def add_task(rng: random.Random, edit: Edit) -> None:
    name = f"added_{len(edit.spec['tasks'])}"
    items = list(edit.spec["tasks"].items())
    items.insert(rng.choice([len(items), 0]), (name, {}))
    edit.spec["tasks"] = dict(items)
    if edit.spec["groups"]:
        rng.choice(list(edit.spec["groups"].values())).append(name)


def remove_task(rng: random.Random, edit: Edit) -> None:
    if len(edit.spec["tasks"]) < 2:
        return
    name = rng.choice(list(edit.spec["tasks"]))
    del edit.spec["tasks"][name]
    members = _home_of(edit.spec, name)
    if members:
        members.remove(name)


def rename_task(rng: random.Random, edit: Edit) -> None:
    name = rng.choice(list(edit.spec["tasks"]))
    old = {new: old for old, new in edit.places.items()}.get(name, name)
    if not _mentioned(edit.spec, name):
        edit.spec["tasks"] = {
            f"{k}_2" if k == name else k: v for k, v in edit.spec["tasks"].items()
        }
        edit.places[old] = f"{name}_2"


def _mentioned(spec: Spec, name: str) -> bool:
    """Whether more than groups and tasks speak of a task; else renames it in its group."""
    rest = {k: v for k, v in spec.items() if k not in ("groups", "tasks", "features")}
    if (
        repr(name) in repr(rest)
        or "where" in repr(spec["tasks"])
        or "product" in repr(spec["tasks"])
    ):
        return True
    members = _home_of(spec, name)
    if members:
        members[members.index(name)] = f"{name}_2"
    return False


def move_task(rng: random.Random, edit: Edit) -> None:
    name = rng.choice(list(edit.spec["tasks"]))
    members = _home_of(edit.spec, name)
    if members:
        members.remove(name)
        rng.choice(list(edit.spec["groups"].values())).append(name)


def reorder_tasks(rng: random.Random, edit: Edit) -> None:
    items = list(edit.spec["tasks"].items())
    edit.spec["tasks"] = dict(rng.sample(items, len(items)))


def split_group(rng: random.Random, edit: Edit) -> None:
    if edit.spec["groups"]:
        members = rng.choice(list(edit.spec["groups"].values()))
        if len(members) > 1:
            edit.spec["groups"][f"split_{len(edit.spec['groups'])}"] = [members.pop()]


def nest_group(rng: random.Random, edit: Edit) -> None:
    groups = edit.spec["groups"]
    if groups:
        members = rng.choice(list(groups.values()))
        if len(members) > 1:
            name = f"nested_{len(groups)}"
            groups[name] = [members[-1]]
            members[-1] = name


def add_feature(rng: random.Random, edit: Edit) -> None:
    name = f"more_{len(edit.spec['features'])}"
    items = list(edit.spec["features"].items())
    new = rng.choice([{"id": {"vocab": 4}, "dim": 2}, {"dense": 2}, {"bucketize": [0.5], "dim": 3}])
    items.insert(rng.randint(0, len(items)), (name, new))
    edit.spec["features"] = dict(items)


def remove_feature(rng: random.Random, edit: Edit) -> None:
    if len(edit.spec["features"]) < 2:
        return
    name = rng.choice(list(edit.spec["features"]))
    del edit.spec["features"][name]


def rename_feature(rng: random.Random, edit: Edit) -> None:
    name = rng.choice(list(edit.spec["features"]))
    others = {k: v for k, v in edit.spec["features"].items() if k != name}
    if repr(name) in repr(list(others.values())):
        return
    old = {new: old for old, new in edit.features.items()}.get(name, name)
    items = edit.spec["features"].items()
    edit.spec["features"] = {f"{k}_2" if k == name else k: v for k, v in items}
    edit.features[old] = f"{name}_2"
    _rename_in_gates(edit.spec, name, f"{name}_2")


def _rename_in_gates(value: Any, name: str, new: str, inside: bool = False) -> None:
    """Let the lists of what gates read have the new name of a feature."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        if key in ("input", "detach") and isinstance(inner, list) and inside:
            inner[:] = [new if entry == name else entry for entry in inner]
        elif isinstance(inner, dict | list):
            _rename_in_gates(inner, name, new, inside or key == "gates")


def reorder_features(rng: random.Random, edit: Edit) -> None:
    items = list(edit.spec["features"].items())
    edit.spec["features"] = dict(rng.sample(items, len(items)))


def change_feature(rng: random.Random, edit: Edit) -> None:
    feature = rng.choice(list(edit.spec["features"].values()))
    if "id" in feature:
        ((kind, size),) = feature["id"].items()
        more = rng.choice([-1, 1, 5])
        feature["id"] = {
            kind: {**size, "max_size": max(1, size["max_size"] + more)}
            if isinstance(size, dict)
            else max(1, size + more)
        }
    elif isinstance(feature.get("bucketize"), list):
        feature["bucketize"] = [*feature["bucketize"], 1000.0]
    elif "cross" in feature:
        cross = feature["cross"]
        feature["cross"] = rng.choice(
            [{**cross, "of": cross["of"][::-1]}, {**cross, "buckets": cross["buckets"] + 1}]
        )
    elif "number" in feature:
        feature["number"] = {"scale": "log" if feature["number"].get("scale") != "log" else "none"}


def change_count(rng: random.Random, edit: Edit) -> None:
    if isinstance(edit.spec.get("layers"), list):
        sets = rng.choice(edit.spec["layers"])["experts"]
        if isinstance(sets, dict):
            node = rng.choice(list(sets))
            count = sets[node].get("count", 2) if isinstance(sets[node], dict) else sets[node]
            count = max(1, count + rng.choice([-1, 1]))
            sets[node] = {**sets[node], "count": count} if isinstance(sets[node], dict) else count
        return
    experts = edit.spec.setdefault("experts", {})
    scope = experts.setdefault(rng.choice(["meta", "task"]), {})
    if isinstance(scope, list):
        scope = rng.choice(scope)
    key = rng.choice(["shared", "group"])
    now = scope.get(key, 2)
    count = now.get("count", 2) if isinstance(now, dict) else now
    count = max(1, count + rng.choice([-1, 1]))
    scope[key] = {**now, "count": count} if isinstance(now, dict) else count


def change_style(rng: random.Random, edit: Edit) -> None:
    options: list[tuple[str, Any]] = [("activation", "swish"), ("activation", "relu")]
    options += [("norm", "layer"), ("width", 6)]
    options += [("activation", "prelu"), ("hidden_activation", "tanh"), ("dropout", 0.2)]
    key, value = rng.choice(options)
    edit.spec.setdefault("experts", {})[key] = value


def change_towers(rng: random.Random, edit: Edit) -> None:
    options: list[tuple[str, Any]] = [("activation", "prelu"), ("activation", "gelu")]
    options += [("dropout", 0.2)]
    options += [("norm", "batch"), ("norm", "layer"), ("norm_eps", 0.01)]
    key, value = rng.choice(options)
    edit.spec.setdefault("towers", {})[key] = value


def change_gates(rng: random.Random, edit: Edit) -> None:
    gates = edit.spec.setdefault("gates", {})
    key, value = rng.choice(
        [
            ("self", False), ("feature", False), ("feature", {"loras": 3}), ("self", True),
            ("self", {"input": "none"}), ("mixture", {"input": "none"}),
            ("mixture", {"detach": True}), ("mixture", {"input": [*edit.spec["features"]][:2]}),
            ("feature", {"input": [next(iter(edit.spec["features"])), "own"], "detach": ["own"]}),
            ("feature", {"activation": "relu", "loras": 1}),
        ]
    )  # fmt: skip
    gates[key] = value


def move_feature(rng: random.Random, edit: Edit) -> None:
    """To another node of the task tree, or back to the root; perhaps with several tables."""
    feature = rng.choice(list(edit.spec["features"].values()))
    feature.pop("at", None)
    node = rng.choice([*edit.spec["groups"], *edit.spec["tasks"]])
    at = rng.choice([None, node, ["shared", node], "tasks"])
    feature.update({"at": at} if at else {})


def change_family(rng: random.Random, edit: Edit) -> None:
    if not isinstance(edit.spec.get("layers"), list):
        edit.spec["family"] = rng.choice(["home", "ple", "cgc", "stem", "mmoe", "moe"])


EDITS: list[Callable[[random.Random, Edit], None]] = [
    add_task, remove_task, rename_task, move_task, reorder_tasks, split_group, nest_group,
    add_feature, remove_feature, rename_feature, reorder_features, change_feature, change_count,
    change_count, change_style, change_gates, change_family, change_towers,
    move_feature,
]  # fmt: skip
