"""Random valid specs of language v1, random features, labels and weights for them.

`random_spec(seed)` is one spec, `specs()` a hypothesis strategy over the same specs.

Every parameter of a drawn spec can be reached by some loss. What would leave one without a
gradient by design is not drawn, or repaired by adding an expert:

* no gate over nothing: an output that sees no expert gets one of its own;
* no unread state: a node's state is dead if the next layer has no set that reads it and no gate
  with a choice (two experts or more) whose input holds it, as under PLE's `input: own` with no
  shared set; the node then gets an expert in the next layer, which reads it;
* no state that is one bare expert (one visible expert, no self gate, activation `none`): if only
  Linear -> BatchNorm reads it, its bias is a constant that BatchNorm takes away again;
* no width below 3: BatchNorm(Linear(x)) does not change with the scale of a one-column x, and
  LayerNorm maps one column to 0 and two to +-1, so gradients are 0 or of the order of eps;
* v has at least 2 columns, for the same reason; the first feature sees to it;
* no hidden layer under 3 units: all its ReLUs may be off for a whole batch. With more units that
  remains possible, hence tests call a parameter live if any of several random draws reaches it;
* no task weight 0, and `random_labels` leaves at least one sample observed per task.

Within a layer all widths agree, as the root's gate sees every set; the task layer has no such gate,
so there, without a shared set, each top group may have its own width.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch
from drawn_readings import add_readings
from event_specs import add_sequences, random_events
from hypothesis import strategies as st
from input_specs import (
    add_inputs,
    field_of,
    fit_vocabularies,
    random_boundaries,
    random_input,
    random_lists,
    random_scaling,
    random_vocabulary,
)
from placed_specs import add_places
from reference_plan import SHARED, FamilyPlan, GivenPlan, Plan, Tree, plans
from regularised_specs import regularise
from torch import Tensor

Spec = dict[str, Any]
GROUPS = ["watch", "interaction", "social", "passive", "active", "deep", "rare", "long_term"]
TASKS = ["click", "like", "follow", "x", "self_", "B"]  # some a generator may trip over


def random_spec(seed: int) -> Spec:
    """A valid spec; the same one for the same seed."""
    return draw(random.Random(seed))


def specs() -> st.SearchStrategy[Spec]:
    """Valid specs; they shrink towards few groups, few tasks and the defaults."""
    return st.randoms(use_true_random=False).map(draw)


def draw(rng: random.Random) -> Spec:
    """Every choice lists its simplest value first, the one that hypothesis shrinks to."""
    groups, tasks = draw_tree(rng)
    spec: Spec = {"homespec": 1, "name": "drawn", "features": draw_features(rng), "groups": groups}
    spec["tasks"] = {task: draw_task(rng, task) for task in rng.sample(tasks, len(tasks))}
    if maybe(rng):
        spec["family"] = "home"
    spec["experts"] = draw_experts(rng, Tree(spec))
    if maybe(rng, 0.8):
        spec["gates"] = draw_gates(rng, Tree(spec))
    if maybe(rng, 0.8):
        spec["towers"] = draw_tower(rng)
    add_readings(rng, spec)
    repair(spec)
    if maybe(rng, 0.8):
        widen(rng, plans(spec)[-1])
    if maybe(rng, 0.3):
        add_inputs(rng, spec)
    if maybe(rng, 0.2):
        add_sequences(rng, spec)
    fit_vocabularies(rng, spec)
    add_places(rng, spec)
    add_init(rng, spec)
    return spec


def add_init(rng: random.Random, spec: Spec) -> None:
    """Now and then torch's own initialisation, and other activations."""
    regularise(rng, spec)
    if maybe(random.Random(str(rng.getstate())), 0.2):  # leaves what is drawn later as it was
        spec["init"] = "torch"


def maybe(rng: random.Random, probability: float = 0.5) -> bool:
    return rng.random() > 1 - probability  # a drawn 0 means no


def some(rng: random.Random, options: Spec, probability: float = 0.5) -> Spec:
    """Leave out some keys, so that defaults and inheritance are drawn too."""
    return {key: value for key, value in options.items() if maybe(rng, probability)}


# ---------------------------------------------------------------- tree, features, tasks


def draw_tree(rng: random.Random) -> tuple[dict[str, list[str]], list[str]]:
    """Groups nested up to 3 deep, with 1 to 3 members that are tasks or groups."""
    free_groups, free_tasks = list(GROUPS), list(TASKS)
    groups: dict[str, list[str]] = {}

    def grow(levels: int) -> str:
        """A group nested at most `levels` deep; it takes at least one of the free tasks."""
        name = free_groups.pop(0)
        groups[name] = []
        for _ in range(rng.choice([1, 2, 2, 3])):
            if free_tasks:
                nest = levels > 1 and free_groups and maybe(rng)
                groups[name].append(grow(levels - 1) if nest else free_tasks.pop(0))
        return name

    levels = rng.choice([1, 2, 3])
    for _ in range(rng.choice([1, 2, 2, 3])):
        if free_tasks and free_groups:
            grow(levels)
    in_file_order = {group: groups[group] for group in rng.sample(list(groups), len(groups))}
    return in_file_order, [task for task in TASKS if task not in free_tasks]


def draw_features(rng: random.Random) -> dict[str, Spec]:
    kinds = [rng.choice(["vocab", "buckets", "bucketize"])]
    kinds += [
        rng.choice(["dense", "vocab", "buckets", "bucketize"])
        for _ in range(rng.choice([1, 0, 2, 3]))
    ]
    return {f"{kind}_{i}": draw_feature(rng, kind) for i, kind in enumerate(kinds)}


def draw_feature(rng: random.Random, kind: str) -> Spec:
    column = {"column": "some_column"} if maybe(rng, 0.2) else {}
    dim = rng.choice([2, 3, 4])
    if kind == "dense":
        own = random.Random(str(rng.getstate()))  # leaves what is drawn later as it was
        more = {"project": own.choice([1, 3])} if maybe(own, 0.4) else {}
        more |= {"missing": own.choice(["learned", "zero"])} if maybe(own, 0.5) else {}
        return {"dense": rng.choice([2, 1, 5]), **more, **column}
    if kind == "bucketize":
        return {
            "bucketize": rng.choice([[0.0], [-1, 0.5, 2], [-2.5, -1, 0, 1]]),
            "dim": dim,
            **column,
        }
    return {"id": {kind: rng.choice([3, 5, 11])}, "dim": dim, **column}


def draw_task(rng: random.Random, task: str) -> Spec:
    options = {
        "label": rng.choice([f"is_{task}", "play_time >= duration", "stay_time > 0.5"]),
        "weight": rng.choice([1.0, 0.5, 3]),
        "rate": rng.choice([0.5, 0.1, 0.003]),
        "tower": draw_tower(rng),
    }
    return some(rng, options, 0.3)


def draw_tower(rng: random.Random) -> Spec:
    hidden = rng.choice([[], [4], [5, 3]])
    return some(rng, {"hidden": hidden, "activation": rng.choice(["relu", "swish"])}, 0.8)


# ---------------------------------------------------------------- experts


def draw_style(rng: random.Random, probability: float) -> Spec:
    """Style keys except the width, which has to agree within a layer."""
    options = {
        "hidden": rng.choice([[], [4], [6], [5, 4]]),
        "norm": rng.choice(["batch", "layer", "none"]),
        "activation": rng.choice(["swish", "relu", "dice", "none"]),
        "hidden_activation": rng.choice(["relu", "swish"]),
        "norm_eps": rng.choice([1e-5, 1e-3, 0.1]),
        "norm_momentum": rng.choice([0.1, 0.3, 0.9]),
    }
    return some(rng, options, probability)


def draw_set(rng: random.Random) -> int | Spec:
    count = rng.choice([1, 2, 3, 0])
    if maybe(rng):
        return {**({"count": count} if maybe(rng, 0.8) else {}), **draw_style(rng, 0.3)}
    return count


def draw_layer(rng: random.Random, roles: list[str], nodes: list[str]) -> Spec:
    layer = draw_style(rng, 0.2)
    if maybe(rng, 0.6):
        layer["width"] = rng.choice([3, 4, 5, 8])
    layer |= {role: draw_set(rng) for role in roles if maybe(rng, 0.7)}
    chosen = {node: draw_set(rng) for node in nodes if maybe(rng, 0.25)}
    return layer | ({"nodes": chosen} if chosen else {})


def draw_experts(rng: random.Random, tree: Tree) -> Spec:
    experts = draw_style(rng, 0.3)
    if maybe(rng, 0.8):
        experts["width"] = rng.choice([4, 3, 6, 8])
    roles = [SHARED, "group"]
    if maybe(rng, 0.3):
        depths = range(1, max(map(tree.depth, tree.groups)) + 1)
        present = [[g for g in tree.groups if tree.depth(g) <= depth] for depth in depths]
        experts["meta"] = [draw_layer(rng, roles, groups) for groups in present]
    elif maybe(rng, 0.8):
        experts["meta"] = draw_layer(rng, roles, list(tree.groups))
    if maybe(rng, 0.8):
        experts["task"] = draw_layer(rng, [*roles, "task"], [*tree.groups, *tree.tasks])
        if maybe(rng, 0.2):
            experts["task"]["shared"] = 0
    return experts


def widen(rng: random.Random, plan: FamilyPlan) -> None:
    """Give the sets of the task layer a width by top group, where no shared set forbids it."""
    tree = plan.tree
    if plan.expert(SHARED)["count"] > 0:
        return
    for top in tree.children[SHARED]:
        width = rng.choice([3, 5, 7])
        for node in [top, *tree.below(top)]:
            if node in plan.candidates:
                section, key = place_of(plan.spec, plan, node)
                given = section.get(key, {})
                own = {"count": given} if isinstance(given, int) else given
                section[key] = {**own, "width": width}


# ---------------------------------------------------------------- gates


def draw_gates(rng: random.Random, tree: Tree) -> Spec:
    gates = draw_kinds(rng, 0.7)
    if maybe(rng, 0.3):
        depth = max(map(tree.depth, tree.groups))
        gates["meta"] = [draw_kinds(rng, 0.4) for _ in range(depth)]
    elif maybe(rng, 0.4):
        gates["meta"] = draw_kinds(rng, 0.4)
    if maybe(rng, 0.4):
        gates["task"] = draw_kinds(rng, 0.5)
    return gates


def draw_kinds(rng: random.Random, probability: float) -> Spec:
    hidden = rng.choice([[], [4], [5, 3]])
    activation = rng.choice(["relu", "swish"])
    mixture = {
        "hidden": hidden,
        "hidden_activation": activation,
        "input": rng.choice(["path", "own"]),
        "gated": rng.choice([False, True]),
    }
    feature = {
        "loras": rng.choice([2, 1, 3]),
        "rank": rng.choice([2, 1, 3, "width/loras"]),
        "mix": rng.choice(["after_sigmoid", "before_sigmoid"]),
    }
    self_gate = {
        "hidden": rng.choice([[], [4]]),
        "hidden_activation": activation,
        "input": rng.choice(["ungated", "gated"]),
        "sets": rng.choice(["outputs", "all"]),
    }
    own = random.Random(str(rng.getstate()))  # leaves what is drawn later as it was
    if maybe(own, 0.15):
        mixture |= {"input": "none", "hidden": [], "gated": False}
    if maybe(own, 0.2):
        self_gate |= {"input": "none", "hidden": []}
    kinds = {
        "mixture": some(rng, mixture),
        "feature": rng.choice([some(rng, feature, 0.7) or True] * 3 + [True, False]),
        "self": rng.choice([some(rng, self_gate) or True] * 3 + [True, False]),
    }
    return some(rng, kinds, probability)


# ---------------------------------------------------------------- repairs


def repair(spec: Spec) -> None:
    """Add experts until no parameter is dead by design; adding one never makes another dead."""
    while (where := next(faults(plans(spec)), None)) is not None:
        add_expert(spec, *where)


def faults(layers: list[Plan]) -> Iterator[tuple[Plan, str]]:
    """The (layer, node) that need one more expert; see the head of this file."""
    for plan, after in zip(layers, [*layers[1:], None], strict=True):
        for node in plan.outputs:
            if not plan.visible(node):
                yield plan, node
                return  # such a layer cannot be read further
            if after and is_bare(plan, node):
                yield plan, node
            if after and not is_read(after, node):
                yield after, node


def experts_seen(plan: Plan, node: str) -> int:
    return sum(plan.expert(m)["count"] for m in plan.visible(node))


def is_bare(plan: Plan, node: str) -> bool:
    """Whether the state of `node` is one expert as it is, without activation."""
    (first, *_) = plan.visible(node)
    self_gated = plan.gate("self") and node in plan.sets
    alone = experts_seen(plan, node) == 1 and not self_gated
    return alone and plan.expert(first)["activation"] == "none"


def is_read(after: Plan, node: str) -> bool:
    """Whether the next layer reads the state of `node`, by a set or by a gate with a choice."""
    by_set = any(after.source(m) == node for m in after.sets)
    gates = [n for n in after.outputs if experts_seen(after, n) > 1]
    return by_set or any(node in after.gate_states(n) for n in gates)


def add_expert(spec: Spec, plan: Plan, node: str) -> None:
    """One more expert for `node` in a layer (in all meta layers, if they share one mapping)."""
    if isinstance(plan, FamilyPlan) and node not in plan.candidates:
        node = SHARED  # tasks of MMoE own none
    count = plan.expert(node)["count"] + 1
    section, key = place_of(spec, plan, node)
    given = section.get(key, {})
    section[key] = {**given, "count": count} if isinstance(given, dict) else count


def place_of(spec: Spec, plan: Plan, node: str) -> tuple[Spec, str]:
    """The most specific section that may speak of a node's experts, and the key for it there."""
    if isinstance(plan, GivenPlan):
        return plan.given["experts"], node
    section = spec.setdefault("experts", {}).setdefault(plan.kind, {})
    if isinstance(section, list):
        section = section[plan.index]
    return (section, SHARED) if node == SHARED else (section.setdefault("nodes", {}), node)


# ---------------------------------------------------------------- data and weights


def random_features(spec: Spec, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Raw values by feature name: known, unknown and missing ones, and values on a boundary."""
    features = {}
    for name, feature in spec["features"].items():
        if "list" in feature:
            features |= random_lists(spec, name, batch, generator)
        elif not {"sequence", "cross"} & feature.keys():
            features[name] = random_input(field_of(spec, name), batch, generator)
    return features | random_events(spec, features, batch, generator)


def random_labels(
    spec: Spec, batch: int, generator: torch.Generator, missing: float = 0.1
) -> dict[str, Tensor]:
    """Labels 0 and 1 by task, NaN where missing; the first sample is observed for every task."""
    labels = {}
    for task in spec["tasks"]:
        values = torch.randint(0, 2, (batch,), generator=generator).double()
        gone = torch.rand(batch, generator=generator) < missing
        gone[0] = False
        labels[task] = values.masked_fill(gone, torch.nan)
    return labels


def randomise(state: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Random values of sensible size for every parameter and buffer, zero-initialised ones too."""
    values = {}
    for name, tensor in sorted(state.items()):
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        if name.endswith(".boundaries"):
            values[name] = random_boundaries(noise)
        elif name.endswith(".scaling"):
            values[name] = random_scaling(noise)
        elif name.endswith(".vocabulary"):
            values[name] = random_vocabulary(noise)
        elif name.endswith(("running_var", "norm.weight")):
            values[name] = 0.5 + noise.abs()
        elif tensor.dim() == 2 and not name.startswith("features."):
            values[name] = noise / tensor.shape[1] ** 0.5  # keeps the scale of its input
        else:
            values[name] = 0.5 * noise
    return values
