"""Signs: what numbers alone say of a model that has a fault, the most important first."""

from __future__ import annotations

import pytest
from planted import Plant, State, planted
from test_planted import PLANTS, collapsed, constant, dead_lora, ignored, nothing

from homespec.activations.twin import Twin
from homespec.activations.walk import Trunk
from homespec.diagnostics import Diagnostic
from homespec.health.signs import RANKED, STEPS, sentences, signs


def made(plant: Plant, steps: int = STEPS) -> list[Diagnostic]:
    """The signs in a planted model."""
    run, rows = planted(plant)
    trunk = Trunk(run.spec.analysis.graph, run.module, run.model)
    twin = Twin(run.spec)
    twin.take(run.module.logical_state(run.model))
    health = twin.health(trunk.inputs(rows.batch.features))
    return signs(run.spec.analysis, health, steps)


def found(plant: Plant, steps: int = STEPS) -> list[tuple[str, str]]:
    """The rules that would judge, and what is so."""
    return [(sign.rule.name, sign.message) for sign in made(plant, steps)]


SEEN = {
    "collapsed-expert": "expert meta.shared.1 has 100.0% of its outputs near 0",
    "dead-channels": "expert meta.shared.1 has 62% dead channels of 8",
    "uneven-experts": "expert meta.shared.1 is far smaller than others of its gate",
    "owned-shared-expert": "expert task.shared.1 is used by the gate task.like to",
    "ignored-own-experts": "expert set task.follow contributes only 0.0% of the state of `follow`",
    "constant-gate": "gate task.like has the same weights in all rows",
    "saturated-feature-gate": "feature gate meta.shared is saturated",
    "dead-lora": "LoRA 1 of the feature gate task.like does nothing",
}


@pytest.mark.parametrize("rule", SEEN)
def test_a_fault_is_said(rule: str) -> None:
    signs_found = found(PLANTS[rule][0])
    assert {name for name, _ in signs_found} == {rule}
    assert signs_found[0][1].startswith(SEEN[rule])


def test_each_rank_is_tested() -> None:
    assert set(RANKED) == set(SEEN)


def test_a_healthy_model_is_silent() -> None:
    assert found(nothing) == []


def test_what_training_has_not_moved_yet_is_no_sign() -> None:
    assert found(constant, STEPS - 1) == []
    assert found(dead_lora, STEPS - 1) == []
    assert found(collapsed, STEPS - 1) != []


def test_sentences_say_the_worst_first_and_each_kind_once() -> None:
    def both(state: State) -> None:
        dead_lora(state)
        ignored(state)
        collapsed(state)
        state["experts.meta.watch.0.norm.weight"].zero_()
        state["experts.meta.watch.0.norm.bias"].fill_(-30)

    said = sentences(made(both))
    assert said[0] == (
        "Expert meta.shared.1 has 100.0% of its outputs near 0, and 1 more is like it."
    )
    assert said[1].startswith("Expert set task.follow contributes only")
    assert said[-1] == "LoRA 1 of the feature gate task.like does nothing."
