"""Dead parameters: what the graph proves, autograd confirms on the oracle, and the other way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from hierarchies import Spec, random_features, random_labels
from reference import Reference
from topologies import random_unmended

import homespec

torch.set_num_threads(1)

FIXTURES = Path(__file__).parent / "rules" / "err"
DRAWN = [random_unmended(seed) for seed in range(40)]


def said_dead(spec: Spec) -> tuple[set[str], bool]:
    """The parts of the model that homespec says no loss reaches; whether that is all of them."""
    try:
        homespec.loads(yaml.safe_dump(spec, sort_keys=False))
    except homespec.SpecError as error:
        errors = [d for d in error.report.diagnostics if d.rule.severity.value == "error"]
        if not {d.rule.name for d in errors} <= {"dead-parameters", "detached-parameters"}:
            raise
        reached = " ".join(
            re.split("no loss reaches|no gradient reaches", d.message)[1] for d in errors
        )
        return set(re.findall(r"`(\w+\..+?)`", reached)), " more" not in reached
    return set(), True


def without_gradient(spec: Spec) -> set[str]:
    """The oracle's parts with a parameter that autograd does not find on the way from the loss."""
    generator = torch.Generator().manual_seed(0)
    model = Reference(spec)
    features = random_features(spec, 8, generator)
    model.loss(model(features), random_labels(spec, 8, generator)).backward()
    return {
        name.rpartition(".")[0] if name.startswith("experts.") else name
        for name, part in model.parts.items()
        if any(parameter.grad is None for parameter in part.parameters())
    }


@pytest.mark.parametrize("spec", DRAWN)
def test_said_dead_is_what_gets_no_gradient(spec: Spec) -> None:
    said, all_of_them = said_dead(spec)
    dead = without_gradient(spec)
    assert said == dead if all_of_them else said < dead


def test_some_drawn_specs_have_dead_parameters_and_some_have_none() -> None:
    dead = sum(bool(said_dead(spec)[0]) for spec in DRAWN)
    assert 8 < dead < 32


def test_experts_that_no_gate_reads_get_no_gradient() -> None:
    text = (FIXTURES / "HS306-unread-experts.yaml").read_text(encoding="utf-8")
    golden = (FIXTURES / "HS306-unread-experts.out").read_text(encoding="utf-8")
    unread = without_gradient(yaml.safe_load(text))
    experts = {name for name in unread if name.startswith("experts.")}
    assert experts == {
        f"experts.{layer}.{node}"
        for node, layer in re.findall(r"the experts of `(\w+)` in layer `(\w+)`", golden)
    }
