"""The drawn specs: valid by construction, every option among them, no parameter dead by design."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from hierarchies import (
    Spec,
    experts_seen,
    random_features,
    random_labels,
    random_spec,
    randomise,
    specs,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import Reference
from reference_plan import SHARED, GivenPlan, plans
from topologies import FAMILIES, random_family, random_topology, topologies

torch.set_num_threads(1)

DRAWN = [random_spec(seed) for seed in range(250)]
OTHERS = [draw(seed) for seed in range(240) for draw in (random_family, random_topology)]
OTHERS += [random_family(seed) for seed in (1163, 1228)]  # PLE whose gates see all


def gradients(model: Reference, seed: int) -> dict[str, float]:
    """The largest gradient of each parameter for random weights and a random batch."""
    generator = torch.Generator().manual_seed(seed)
    model.load_logical_state(randomise(model.logical_state(), generator))
    model.zero_grad()
    features = random_features(model.spec, 16, generator)
    labels = random_labels(model.spec, 16, generator)
    model.loss(model(features), labels).backward()
    parameters = {n: t for n, t in model.logical_state().items() if t.requires_grad}
    return {n: 0.0 if p.grad is None else p.grad.abs().max().item() for n, p in parameters.items()}


@pytest.mark.parametrize("spec", [*DRAWN[:80], *OTHERS[:40]])
def test_every_parameter_gets_a_gradient(spec: Spec) -> None:
    """In one of several draws: all ReLUs of a small hidden layer may be off, or on, for a batch."""
    model = Reference(spec)
    reached: set[str] = set()
    for draw in range(40):
        found = gradients(model, draw)
        reached |= {name for name, size in found.items() if size > 1e-9}
        if reached == found.keys():
            return
    assert reached == found.keys()


def test_specs_are_the_same_for_the_same_seed_and_plain_yaml() -> None:
    for seed, spec in enumerate(DRAWN[:60]):
        assert json.dumps(random_spec(seed)) == json.dumps(spec)
    for seed in range(20):
        pair = [random_family(seed), random_topology(seed)]
        assert json.dumps(pair) == json.dumps(OTHERS[2 * seed : 2 * seed + 2])
    for spec in [*DRAWN[:60], *OTHERS[:40]]:
        text = yaml.safe_dump(spec, sort_keys=False)
        assert json.dumps(yaml.safe_load(text)) == json.dumps(spec)


def is_tree(spec: Spec) -> bool:
    """Every nested group, and every task if tasks need a group, stands in exactly one group."""
    groups = spec.get("groups", {})
    members = [m for group in groups.values() for m in group]
    loose = isinstance(spec.get("layers"), list) or not groups
    tops = [n for n in [*groups, *(spec["tasks"] if loose else [])] if n not in members]
    declared = [*groups, *spec["tasks"]]
    return sorted(members + tops) == sorted(declared) and all(groups.values())


def check(spec: Spec) -> None:
    assert is_tree(spec)
    for plan in plans(spec):
        for node in plan.outputs:
            widths = {plan.expert(m)["width"] for m in plan.visible(node)}
            assert len(widths) == 1, (plan.name, node, widths)


def test_drawn_specs_are_valid() -> None:
    for spec in [*DRAWN, *OTHERS]:
        check(spec)


@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.one_of(specs(), topologies()))
def test_drawn_by_hypothesis_they_are_valid(spec: Spec) -> None:
    check(spec)


def test_every_option_is_drawn() -> None:
    seen: set[tuple[str, str]] = set()
    for spec in DRAWN:
        for plan in plans(spec):
            seen |= {(plan.kind, f"{len(plan.tree.path(n)) - 1} deep") for n in plan.tree.groups}
            seen |= {("sees", str(min(2, experts_seen(plan, n)))) for n in plan.outputs}
            for node in plan.candidates:
                seen |= {(key, str(value)) for key, value in plan.expert(node).items()}
            for kind in ("mixture", "feature", "self"):
                options = plan.gate(kind) or {"on": False}
                seen |= {(f"{kind}.{key}", str(value)) for key, value in options.items()}
            if len({plan.expert(n)["width"] for n in plan.sets}) > 1:
                seen.add(("widths", "unequal"))
        if len(plans(spec)[0].tree.children[SHARED]) == 1:
            seen.add(("groups", "one"))
    expected = {
        *(("count", str(k)) for k in range(4)),
        *(("meta", f"{k} deep") for k in (1, 2, 3)),
        *(("norm", x) for x in ("batch", "layer", "none")),
        *(("activation", x) for x in ("swish", "relu", "dice", "none")),
        *(("hidden_activation", x) for x in ("swish", "relu")),
        *(("hidden", x) for x in ("[]", "[4]", "[5, 4]")),
        *(("width", x) for x in ("64", "3", "8")),
        *(("mixture.input", x) for x in ("path", "own")),
        *(("mixture.gated", x) for x in ("True", "False")),
        *(("mixture.hidden", x) for x in ("[]", "[5, 3]")),
        *(("feature.mix", x) for x in ("after_sigmoid", "before_sigmoid")),
        *(("feature.rank", x) for x in ("16", "1", "width/loras")),
        *(("feature.loras", x) for x in ("1", "2", "3")),
        *(("self.input", x) for x in ("gated", "ungated")),
        *(("self.sets", x) for x in ("outputs", "all")),
        *((f"{kind}.on", "False") for kind in ("feature", "self")),
        *(("sees", x) for x in ("1", "2")),
        ("widths", "unequal"),
        ("groups", "one"),
    }
    assert expected <= seen, sorted(expected - seen)


def test_every_way_to_lay_out_layers_is_drawn() -> None:
    seen: set[tuple[str, str]] = set()
    for spec in OTHERS:
        layers = plans(spec)
        kind = "by hand" if isinstance(layers[0], GivenPlan) else spec["family"]
        grouped = "groups" if spec.get("groups") else "no groups"
        seen |= {(kind, grouped), (kind, f"{len(layers)} layers")}
        tree, last = layers[0].tree, layers[-1]
        seen |= {(kind, "loose task") for t in tree.tasks if t in tree.children[SHARED]}
        seen |= {(kind, f"towers read a {tree.role(n)}") for n in last.outputs}
        for plan in layers:
            sees, reads = (plan.gate("mixture")[key] for key in ("sees", "input"))
            sees = "all" if sees == "forward" else sees  # which differs in gradients
            seen |= {(kind, f"sees {sees}"), (kind, f"gates read {reads}")}
            seen |= {(kind, "no shared experts") for _ in plan.outputs if SHARED not in plan.sets}
            seen |= {(kind, "no root state") for _ in plan.sets if SHARED not in plan.inputs}
            seen |= {(kind, f"each, {min(n, 2)}") for n in plan.several.values()}
            for name in ("feature", "self"):
                seen.add((kind, f"{name} gates" if plan.gate(name) else f"no {name} gates"))
            if len({plan.expert(n)["width"] for n in plan.sets}) > 1:
                seen.add((kind, "unequal widths"))
    kinds = ["by hand", *FAMILIES]
    stacked = ["by hand", "home", "ple", "ml_mmoe"]
    expected = {
        *((kind, "groups") for kind in kinds),
        *((kind, "no groups") for kind in kinds if kind != "home"),
        *((kind, f"{layers} layers") for kind in stacked for layers in (1, 2, 3)),
        *((kind, f"gates read {x}") for kind in stacked for x in ("path", "own", "v")),
        *((kind, f"sees {x}") for kind in stacked for x in ("path", "all")),
        *(
            (kind, f"{x}{g} gates")
            for kind in kinds
            for x in ("", "no ")
            for g in ("self", "feature")
        ),
        *(("by hand", f"towers read a {role}") for role in ("task", "group", "shared")),
        *(("by hand", x) for x in ("loose task", "no shared experts", "no root state")),
        *(("by hand", x) for x in ("unequal widths", "each, 1", "each, 2", "4 layers")),
        ("ml_mmoe", "each, 2"),
    }
    assert expected <= seen, sorted(expected - seen)
