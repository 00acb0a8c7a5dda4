"""The specs of the families and of the ablations are what their names say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import homespec
from homespec.analysis.family_match import match_family
from homespec.graph.inputs import width_of
from homespec.resolve.families import FAMILIES

SPECS = Path(__file__).parents[1] / "specs"
ABLATIONS = {
    "no_mask": {"no hierarchy mask: gates see every set"},
    "no_feature_gate": {"no feature gates"},
    "no_self_gate": {"no self gates"},
    "no_norm": {"no norm in place of batch norm"},
}


def test_there_is_one_of_each() -> None:
    assert {path.stem for path in (SPECS / "families").iterdir()} == set(FAMILIES)
    assert {path.stem for path in (SPECS / "ablations").iterdir()} == set(ABLATIONS)


@pytest.mark.parametrize("family", FAMILIES)
def test_family_as_published(family: str) -> None:
    analysis = homespec.load(SPECS / "families" / f"{family}.yaml").analysis
    match = match_family(analysis)
    assert (match.family, match.differences) == (family, ())
    assert match.grouped == (family == "home")


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablation_is_one_difference(name: str) -> None:
    path = SPECS / "ablations" / f"{name}.yaml"
    analysis = homespec.load(path).analysis
    match = match_family(analysis)
    assert match.family == "home"
    assert {difference.text for difference in match.differences} == ABLATIONS[name]
    assert len(path.read_text().splitlines()) == 5  # four and the modeline


@pytest.mark.parametrize("path", sorted(SPECS.glob("*/*.yaml")), ids=lambda p: p.stem)
def test_runs(path: Path) -> None:
    """One step; every parameter of the trunk has a gradient."""
    torch.manual_seed(0)
    code = homespec.build_module(path)
    model = code.Model()
    v = torch.randn(64, width_of(homespec.load(path).analysis.graph))
    logits = model.trunk(v)
    labels = {task: torch.randint(2, (64,)).float() for task in code.TASKS}
    code.loss(logits, labels).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.trunk.parameters())
