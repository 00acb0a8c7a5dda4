"""Random specs of every family, and of layers by hand; built of the parts of `hierarchies`.

`random_family(seed)` draws a family on a tree with or without groups, with published or HoME's
experts and gates. `random_topology(seed)` draws layers: any nodes of the tree with experts, each
with counts and widths of its own, and any nodes with states, as long as everything has a state to
read. As in `hierarchies`, every parameter can be reached by some loss.
"""

from __future__ import annotations

import random
from typing import Any

from drawn_readings import add_readings
from event_specs import add_sequences
from hierarchies import (
    TASKS,
    Spec,
    add_expert,
    add_init,
    draw_features,
    draw_kinds,
    draw_layer,
    draw_set,
    draw_style,
    draw_task,
    draw_tower,
    draw_tree,
    faults,
    maybe,
    widen,
)
from hypothesis import strategies as st
from input_specs import add_inputs, fit_vocabularies
from placed_specs import add_places
from reference_plan import SHARED, STACKED, Plan, Tree, plans

FAMILIES = ["ple", "mmoe", "cgc", "ml_mmoe", "moe", "shared_bottom", "home"]
HOME = {"norm": "batch", "activation": "swish"}


def random_family(seed: int) -> Spec:
    """A valid spec of some family; the same one for the same seed."""
    return draw_family(random.Random(seed))


def random_topology(seed: int) -> Spec:
    """A valid spec with layers by hand; the same one for the same seed."""
    return draw_topology(random.Random(seed))


def random_unmended(seed: int) -> Spec:
    """Layers by hand as they were drawn: some states may be read by nobody."""
    return draw_topology(random.Random(seed), mend=False)


def topologies() -> st.SearchStrategy[Spec]:
    """Both kinds; they shrink as `hierarchies.specs` do."""
    drawn = [st.randoms(use_true_random=False).map(draw) for draw in (draw_topology, draw_family)]
    return st.one_of(drawn)


def draw_frame(rng: random.Random, groups: dict[str, list[str]], tasks: list[str]) -> Spec:
    """What a spec has besides its layers."""
    spec: Spec = {"homespec": 1, "name": "drawn", "features": draw_features(rng)}
    if groups:
        spec["groups"] = groups
    spec["tasks"] = {task: draw_task(rng, task) for task in tasks}
    if maybe(rng, 0.7):
        spec["towers"] = draw_tower(rng)
    return spec


# ---------------------------------------------------------------- families


def draw_family(rng: random.Random) -> Spec:
    family = rng.choice(FAMILIES)
    if family == "ple" and maybe(random.Random(str(rng.getstate())), 0.4):
        family = "stem"
    groups, tasks = draw_tree(rng)
    if family != "home" and maybe(rng):
        groups, tasks = {}, rng.sample(TASKS, rng.choice([2, 1, 3, 4]))
    spec = {**draw_frame(rng, groups, tasks), "family": family}
    if family in STACKED and maybe(rng, 0.7):
        spec["layers"] = rng.choice([2, 1, 3])
    layers = plans(spec)
    spec["experts"] = draw_family_experts(rng, layers)
    if maybe(rng):
        spec["gates"] = draw_free_kinds(rng, 0.6)
        if len(layers) > 1 and maybe(rng, 0.3):
            spec["gates"]["meta"] = [draw_free_kinds(rng, 0.4) for _ in layers[:-1]]
        if maybe(rng, 0.3):
            spec["gates"]["task"] = draw_free_kinds(rng, 0.4)
    add_readings(rng, spec)
    repair(spec)
    last = plans(spec)[-1]
    if maybe(rng) and last.outputs != [SHARED] and last.gate("mixture")["sees"] == "path":
        widen(rng, last)
    if maybe(rng, 0.3):
        add_inputs(rng, spec)
    if maybe(rng, 0.2):
        add_sequences(rng, spec, most=1)
    fit_vocabularies(rng, spec)
    add_places(rng, spec)
    add_init(rng, spec)
    return spec


def draw_family_experts(rng: random.Random, layers: list[Plan]) -> Spec:
    """Every scope that the family has: `all`, `meta` as one or as a list, and `task`."""
    experts = {**draw_style(rng, 0.2), **(HOME if maybe(rng, 0.3) else {})}
    experts["width"] = rng.choice([4, 3, 6])
    if maybe(rng):
        experts["all"] = draw_scope(rng, layers)
    if len(layers) > 1 and maybe(rng):
        experts["meta"] = draw_scope(rng, layers[:-1])
        if maybe(rng):
            experts["meta"] = [draw_scope(rng, [layer]) for layer in layers[:-1]]
    if maybe(rng):
        experts["task"] = draw_scope(rng, layers[-1:])
    return experts


def draw_scope(rng: random.Random, layers: list[Plan]) -> Spec:
    """Experts by role and node, for nodes that own experts in one of these layers."""
    tree = layers[0].tree
    owners = [n for n in tree.nodes if any(n in layer.candidates for layer in layers)]
    if layers[0].spec.get("family") == "shared_bottom":
        return draw_layer(rng, [], [])  # one expert, by definition
    roles = sorted({tree.role(n) for n in owners})
    return draw_layer(rng, roles, [n for n in owners if n != SHARED])


def draw_free_kinds(rng: random.Random, probability: float) -> Spec:
    """Gates as for HoME, now and then without the mask, or reading the features."""
    kinds = draw_kinds(rng, probability)
    if "mixture" in kinds and maybe(rng, 0.3):
        kinds["mixture"]["input"] = "v"
    if "mixture" in kinds and maybe(rng, 0.3):
        kinds["mixture"]["sees"] = rng.choice(["all", "path"])
        own = random.Random(str(rng.getstate()))  # leaves what is drawn later as it was
        if kinds["mixture"]["sees"] == "all" and maybe(own):
            kinds["mixture"]["sees"] = "forward"
    return kinds


# ---------------------------------------------------------------- layers by hand


def draw_topology(rng: random.Random, mend: bool = True) -> Spec:
    spec = draw_frame(rng, *draw_free_tree(rng))
    spec["experts"] = draw_style(rng, 0.2)
    if maybe(rng, 0.7):
        spec["gates"] = draw_free_kinds(rng, 0.6)
    depth = rng.choice([2, 1, 2, 3, 1, 4])
    spec["layers"] = []
    inputs = [SHARED]
    for index in range(depth):
        last = index == depth - 1
        spec["layers"].append(draw_given(rng, Tree(spec), inputs, last))
        if maybe(rng, 0.3):
            spec["layers"][-1]["name"] = rng.choice(["bottom", "extract", "L"]) + str(index)
        plan = plans(spec)[-1]
        for node in plan.outputs:
            if not plan.visible(node):
                plan.given["experts"][node] = 1
        inputs = plan.outputs
    add_readings(rng, spec)
    if mend:
        repair(spec)
    for plan in plans(spec)[1:]:
        draw_each(rng, plan)
    for plan in plans(spec):
        draw_widths(rng, plan)
    if maybe(rng, 0.3):
        add_inputs(rng, spec)
    if maybe(rng, 0.2):
        add_sequences(rng, spec, most=1)
    fit_vocabularies(rng, spec)
    if mend:
        add_places(rng, spec)
    add_init(rng, spec)
    return spec


def draw_free_tree(rng: random.Random) -> tuple[dict[str, list[str]], list[str]]:
    """As for HoME, but tasks and groups may also stand directly below the root."""
    groups, tasks = draw_tree(rng)
    for name in list(groups):
        nested = any(name in members for members in groups.values())
        if not nested and len(groups[name]) > 1 and maybe(rng, 0.3):
            groups[name].pop()  # now below the root
        elif not nested and maybe(rng, 0.2):
            del groups[name]
    return groups, rng.sample(tasks, len(tasks))


def draw_given(rng: random.Random, tree: Tree, inputs: list[str], last: bool) -> Spec:
    """A layer in which every node has a state to read, and so have those of the next one."""
    readable = [n for n in tree.nodes if set(tree.path(n)) & set(inputs)]
    chosen = [rng.choice([n for n in tree.path(t) if n in readable]) for t in tree.leaves]
    if last:  # only states that a tower reads
        outputs = list(dict.fromkeys(tree.nearest(t, chosen) for t in tree.leaves))
    else:
        outputs = [n for n in readable if n in chosen or maybe(rng, 0.3)]
    experts = {n: draw_set(rng) for n in readable if maybe(rng)}
    layer: Spec = {
        **draw_style(rng, 0.1),
        "outputs": rng.sample(outputs, len(outputs)),
        "experts": experts or {outputs[0]: 1},
    }
    return layer | ({"gates": draw_free_kinds(rng, 0.5)} if maybe(rng) else {})


def draw_each(rng: random.Random, plan: Any) -> None:
    """Experts that read a state each, where no other set reads that node's state."""
    for node in plan.sets:
        alone = [m for m in plan.sets if plan.source(m) == node] == [node]
        if alone and maybe(rng, 0.3):
            give(plan, node, {"inputs": "each"})


def draw_widths(rng: random.Random, plan: Any) -> None:
    """Widths that agree wherever one gate sees two sets, and differ where none does."""
    together = {node: {node} for node in plan.sets}
    for seen in map(plan.visible, plan.outputs):
        union = set().union(*(together[m] for m in seen))
        together |= dict.fromkeys(union, union)
    if len({id(group) for group in together.values()}) == 1 and maybe(rng):
        plan.given["width"] = rng.choice([4, 3, 7])
        return
    widths = {min(group): rng.choice([4, 3, 5, 7]) for group in together.values()}
    for node in plan.sets:
        give(plan, node, {"width": widths[min(together[node])]})


def give(plan: Any, node: str, options: Spec) -> None:
    """Say something of a node's experts in a layer by hand."""
    given = plan.given["experts"][node]
    given = {"count": given} if isinstance(given, int) else given
    plan.given["experts"][node] = {**given, **options}


# ---------------------------------------------------------------- repairs


def repair(spec: Spec) -> None:
    """Add experts until no parameter is dead by design, and outputs for experts out of sight."""
    while (where := next(faults(plans(spec)), None)) is not None:
        plan, node = where
        add_expert(spec, plan, node)
        if isinstance(spec.get("layers"), list):
            after: Any = plans(spec)[plan.index]
            if not any(node in after.visible(n) for n in after.outputs):
                after.given["outputs"].append(node)
