"""Each fault that is put into a model is found, with a remedy; a healthy one is silent."""

from __future__ import annotations

import re

import pytest
from planted import SPEC, Plant, State, diagnosed

import homespec
from homespec.doctor.examine import Options
from homespec.health.thresholds import Thresholds

EXPERT = "experts.meta.shared.1"
TASKS = ("click", "finish", "like", "follow")


def nothing(state: State) -> None:
    pass


def collapsed(state: State) -> None:
    state[f"{EXPERT}.norm.weight"].zero_()
    state[f"{EXPERT}.norm.bias"].fill_(-30)


def sparse(state: State) -> None:
    state[f"{EXPERT}.norm.weight"].fill_(60)
    state[f"{EXPERT}.norm.bias"].fill_(-240)


def wrecked(state: State) -> None:
    """Two channels speak in some rows; the others are dead."""
    sparse(state)
    state[f"{EXPERT}.norm.weight"][:6] = 0


def half_dead(state: State) -> None:
    state[f"{EXPERT}.norm.weight"][:5] = 0


def small(state: State) -> None:
    state[f"{EXPERT}.norm.weight"].mul_(0.005)
    state[f"{EXPERT}.norm.bias"].mul_(0.005)


def copy(state: State) -> None:
    for name in list(state):
        if name.startswith(EXPERT):
            state[name] = state[name.replace(EXPERT, "experts.meta.shared.0")].clone()


def unused(state: State) -> None:
    for place in ("shared", "watch", "interaction"):
        state[f"gates.meta.{place}.linears.0.bias"][:2] = -30


def owned(state: State) -> None:
    for task in TASKS:
        bias = state[f"gates.task.{task}.linears.0.bias"]
        bias[1] = 2.0 if task == "like" else -30.0


def ignored(state: State) -> None:
    state["gates.task.follow.linears.0.bias"][3] = -30.0


def constant(state: State) -> None:
    state["gates.task.like.linears.0.weight"].zero_()


def saturated(state: State) -> None:
    down = state["feature_gates.meta.shared.loras.0.down.weight"]
    down[:, :8] = 0  # only the embedding, which is the same in all rows
    down[:, 8:] = 10 * state["features.place.weight"][2].sign()
    hard(state)


def hard(state: State) -> None:
    name = "feature_gates.meta.shared.loras"
    state[f"{name}.0.up.weight"].mul_(100)
    for part in ("up", "down"):
        state[f"{name}.1.{part}.weight"] = state[f"{name}.0.{part}.weight"].clone()


def dead_lora(state: State) -> None:
    state["feature_gates.task.like.loras.1.up.weight"].zero_()


PLANTS: dict[str, tuple[Plant, str, tuple[str, ...]]] = {
    "collapsed-expert": (collapsed, "meta.shared.1", ()),
    "sparse-expert": (sparse, "meta.shared.1", ()),
    "dead-channels": (half_dead, "meta.shared.1", ()),
    "uneven-experts": (small, "meta.shared.1", ()),
    "copied-expert": (copy, "meta.shared.0", ()),
    "idle-experts": (unused, "meta.shared", ()),
    "owned-shared-expert": (owned, "`like` owns the expert task.shared.1", ()),
    "ignored-own-experts": (ignored, "`follow` ignores its own experts", ()),
    "constant-gate": (constant, "task.like", ()),
    "saturated-feature-gate": (saturated, "meta.shared", ()),
    "hard-feature-gate": (hard, "meta.shared", ()),
    "dead-lora": (dead_lora, "task.like.loras.1", ()),
}


@pytest.mark.parametrize("rule", PLANTS)
def test_what_is_planted_is_found_and_nothing_else(rule: str) -> None:
    plant, place, overrides = PLANTS[rule]
    found, _, spec = diagnosed(plant, *overrides)
    assert {d.rule.name for d in found} == {rule}, [d.message for d in found]
    assert place in found[0].message
    assert found[0].span.file == "<string>"
    changes = re.findall(r"--set (\S+)", found[0].help)
    if changes:
        mended = homespec.loads(SPEC, overrides=[*overrides, *changes])
        assert mended.model_dump() != spec.model_dump()


FAMILIES = {"mmoe": "family=home", "ple": "experts.task.nodes.like.count=2"}
"""What gives the owner of a shared expert some of its own."""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shared_expert_that_one_task_owns_is_found_in_other_families(family: str) -> None:
    found, _, _ = diagnosed(owned, f"family={family}", seed=1)
    (one,) = (d for d in found if d.rule.name == "owned-shared-expert")
    assert one.help == f"--set {FAMILIES[family]}"
    mended = homespec.loads(SPEC, overrides=[f"family={family}", FAMILIES[family]])
    assert mended.analysis.layers


def test_a_lora_that_changes_no_row_is_dead_whatever_the_positives() -> None:
    def rare(state: State) -> None:
        state["feature_gates.task.follow.loras.1.up.weight"].zero_()
        state["towers.follow.linears.1.weight"].mul_(0.1)
        state["towers.follow.linears.1.bias"].fill_(-6)

    found, _, _ = diagnosed(rare)
    assert {d.rule.name for d in found} == {"too-few-positives", "dead-lora"}


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_model_is_silent(seed: int) -> None:
    found, health, _ = diagnosed(nothing, seed=seed)
    assert not found, [d.message for d in found]
    assert all(task.judged for task in health.tasks)


def test_an_expert_that_is_mostly_dead_has_collapsed_though_the_rest_is_needed() -> None:
    found, health, _ = diagnosed(wrecked)
    assert {d.rule.name for d in found} == {"collapsed-expert"}
    held = next(k for k in health.knockouts if k.kind == "constant_expert")
    assert any(effect.low > 0 for effect in held.effects)


@pytest.mark.parametrize("rule", ["collapsed-expert", "constant-gate", "ignored-own-experts"])
def test_without_losses_there_is_no_verdict(rule: str) -> None:
    plant, _, overrides = PLANTS[rule]
    found, _, _ = diagnosed(plant, *overrides, options=Options(sample_rows=0))
    assert {d.rule.name for d in found} == {"open-verdict"}
    assert "no loss was measured" in found[0].message


def test_a_sparse_task_is_not_judged() -> None:
    def sparse_task(state: State) -> None:
        ignored(state)
        state["towers.follow.linears.1.weight"].mul_(0.1)
        state["towers.follow.linears.1.bias"].fill_(-6)

    found, _, _ = diagnosed(sparse_task)
    assert {d.rule.name for d in found} == {"too-few-positives", "open-verdict"}
    assert any("`follow` has" in d.message for d in found)


def test_of_two_classes_the_rarer_is_said_to_be_too_few() -> None:
    found, health, _ = diagnosed(nothing, options=Options(sample_rows=400))
    few = {task.name: task for task in health.tasks if not task.judged}
    for name, task in few.items():
        rarer = min(task.sample_positives, task.sample_rows - task.sample_positives)
        said = next(d.message for d in found if d.message.startswith(f"`{name}` has"))
        assert said.startswith(f"`{name}` has {rarer} ")
    assert few["finish"].sample_positives > few["finish"].sample_rows / 2


def test_thresholds_can_be_set() -> None:
    loose = Options(sample_rows=4000, thresholds=Thresholds(gate_std=0.0))
    assert not diagnosed(constant, options=loose)[0]


def test_a_set_of_a_task_that_cannot_be_judged_is_not_called_idle() -> None:
    """That no other task needs it says nothing."""

    def rare(state: State) -> None:
        state["towers.follow.linears.1.weight"].mul_(0.1)
        state["towers.follow.linears.1.bias"].fill_(-6)
        for place in ("shared", "interaction"):  # whose states other tasks read
            for column, expert in enumerate(seen_by[f"gates.meta.{place}"]):
                if "follow" in expert:
                    state[f"gates.meta.{place}.linears.0.bias"][column] = -30

    ple = ("family=ple",)
    _, health, _ = diagnosed(nothing, *ple, options=Options(sample_rows=0))
    seen_by = {gate.name: gate.experts for gate in health.gates}
    found, health, _ = diagnosed(rare, *ple, seed=1)
    assert {d.rule.name for d in found} == {"too-few-positives"}
    changes = {k.target: k for k in health.knockouts if k.kind == "without_set"}
    assert {e.task for e in changes["experts.meta.follow"].effects} > {"follow"}
