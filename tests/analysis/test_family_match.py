"""What a model is in words: every family is itself, every option that differs is named."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hierarchies import Spec, specs
from hypothesis import given, settings

import homespec
from homespec.analysis.describe_gates import describe_gates
from homespec.analysis.expand import expanded
from homespec.analysis.family_match import describe_match, match_family
from homespec.cli.main import cli
from homespec.resolve.families import FAMILIES

BASE: Spec = {
    "homespec": 1,
    "name": "m",
    "features": {"a": {"dense": 8}},
    "groups": {"watch": ["click", "finish"], "social": ["like", "follow"]},
    "tasks": {"click": {}, "finish": {}, "like": {}, "follow": {}},
}
UNGROUPED = {key: value for key, value in BASE.items() if key != "groups"}


def words(spec: Spec) -> str:
    analysis = homespec.loads(yaml.safe_dump(spec, sort_keys=False)).analysis
    return describe_match(analysis, match_family(analysis))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_itself(family: str) -> None:
    title = FAMILIES[family].title
    assert words({**BASE, "family": family}).startswith(f"m equals {title}")
    if family != "home":
        assert words({**UNGROUPED, "family": family}).startswith(f"m equals {title}, as published")


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
@pytest.mark.parametrize("family", ["home", "ple", "ml_mmoe"])
def test_stacks(family: str, layers: int) -> None:
    """One layer of PLE is CGC and one of ML-MMoE is MMoE but for their gates' name."""
    like = {"ple": "cgc", "ml_mmoe": "mmoe"}.get(family, family) if layers == 1 else family
    text = words({**BASE, "family": family, "layers": layers})
    assert text.startswith(f"m equals {FAMILIES[like].title}")
    assert f"{layers} layer" in text


def test_the_explicit_form_is_the_same_model() -> None:
    for family in FAMILIES:
        text = yaml.safe_dump({**BASE, "family": family}, sort_keys=False)
        again = homespec.loads(expanded(homespec.loads(text).analysis)).analysis
        assert match_family(again).differences == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"experts": {"norm": "layer"}}, ["layer norm in place of batch norm"]),
        (
            {"experts": {"norm": "none", "meta": {"activation": "relu"}}},
            ["no norm in place of batch norm", "activation relu in place of swish in layer meta"],
        ),
        ({"gates": {"task": {"self": False}}}, ["no self gates in layer task"]),
        ({"gates": {"feature": False}}, ["no feature gates"]),
        ({"gates": {"feature": {"mix": "before_sigmoid"}}}, ["LoRAs mixed before their sigmoid"]),
        ({"gates": {"mixture": {"input": "v"}}}, ["read the features v in layer task"]),
        ({"gates": {"mixture": {"input": "own"}}}, ["their own state alone in layer task"]),
        ({"gates": {"mixture": {"gated": True}}}, ["gates that read the feature-gated states"]),
        ({"gates": {"mixture": {"hidden": [4]}}}, ["gates with hidden layers"]),
        ({"gates": {"self": {"input": "gated"}}}, ["self gates that read the gated input"]),
        ({"gates": {"self": {"hidden": [3]}}}, ["self gates with hidden layers"]),
        ({"gates": {"self": {"sets": "all"}}}, ["self gates, too, at shared, watch, social"]),
        ({"experts": {"task": {"nodes": {"like": 0}}}}, ["no experts at like in layer task"]),
        ({"experts": {"hidden": [4], "hidden_activation": "swish"}}, ["hidden layers with swish"]),
    ],
)
def test_differences(change: dict[str, Any], told: list[str]) -> None:
    lines = words({**BASE, **change}).splitlines()
    assert lines[0] == "m is HoME (2 layers, 4 tasks in 2 groups), but:"
    assert len(lines) == 1 + len(told)
    for line, text in zip(lines[1:], told, strict=True):
        assert text in line


def test_no_mask() -> None:
    lines = words({**BASE, "gates": {"mixture": {"sees": "all"}}}).splitlines()
    assert lines[1:] == ["  - no hierarchy mask: gates see every set"]


def test_one_cause_is_one_difference() -> None:
    """What no longer has a state has no self gate and is read by no gate: that is no news."""
    text = expanded(homespec.loads(yaml.safe_dump(BASE, sort_keys=False)).analysis)
    spec = yaml.safe_load(text)
    spec["layers"][0]["outputs"].remove("watch")
    assert words(spec).splitlines()[1:] == ["  - no state at watch in layer meta"]


def test_gates() -> None:
    spec = {**BASE, "family": "ml_mmoe", "groups": {"all_of_them": list(BASE["tasks"])}}
    analysis = homespec.loads(yaml.safe_dump(spec, sort_keys=False)).analysis
    lines = list(describe_gates(analysis))
    assert lines[:2] == [
        "layer meta",
        "  shared (for expert 0) mixes 2×shared, 2×all_of_them; its gate reads v",
    ]
    assert lines[-1] == "  follow mixes 2×shared, 2×all_of_them; its gate reads v"


@settings(max_examples=60)
@given(spec=specs())
def test_any_hierarchy(spec: Spec) -> None:
    analysis = homespec.loads(yaml.safe_dump(spec, sort_keys=False)).analysis
    assert describe_match(analysis, match_family(analysis))
    gates = [node for node in analysis.graph if node.kind == "state"]
    layers = {node.layer for node in gates}
    assert len(list(describe_gates(analysis))) == len(gates) + len(layers)


def test_command() -> None:
    result = CliRunner().invoke(
        cli, ["explain", "--spec", "-"], input=yaml.safe_dump(BASE), standalone_mode=False
    )
    assert result.return_value == 0
    assert result.stdout.startswith("m equals HoME, as published: 2 layers, 4 tasks in 2 groups.\n")
    assert (
        "  like mixes 2×shared, 2×social, 2×like; its gate reads social ⊕ shared" in result.stdout
    )
    bad = CliRunner().invoke(
        cli, ["explain", "--spec", "-"], input="homespec: 1\n", standalone_mode=False
    )
    assert (bad.return_value, bad.stdout) == (1, "")
