"""The families as homespec compiles them, against their papers' definitions (`families`)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from families import MODELS, Case, Model, draw, spec_of
from hierarchies import random_features, random_labels, randomise
from parity import compare

torch.set_num_threads(1)

CASES = range(30)


def case_of(family: str, seed: int) -> Case:
    return draw(family, random.Random(f"{family} {seed}"))


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("seed", CASES)
def test_as_published(seed: int, family: str) -> None:
    case = case_of(family, seed)
    compare(spec_of(case), MODELS[family](case), seed)


def gradients(model: Model, draw: int) -> dict[str, float]:
    """The largest gradient of each parameter for random weights and a random batch."""
    generator = torch.Generator().manual_seed(draw)
    model.load_logical_state(randomise(model.logical_state(), generator))
    model.zero_grad()
    spec = spec_of(model.case)
    features = random_features(spec, 16, generator)
    model.loss(model(features), random_labels(spec, 16, generator)).backward()
    return {n: p.grad.abs().max().item() for n, p in model.logical_state().items()}


@pytest.mark.parametrize("family", MODELS)
def test_every_parameter_gets_a_gradient(family: str) -> None:
    """In one of several draws: all ReLUs of an expert may be off for a batch.

    Parity of gradients carries this over to the generated code, whose names are the same.
    """
    for seed in CASES:
        model = MODELS[family](case_of(family, seed))
        reached: set[str] = set()
        names = model.logical_state().keys()
        for number in range(60):
            reached |= {n for n, size in gradients(model, number).items() if size > 0}
            if reached == names:
                break
        assert reached == names


def test_the_cases_have_every_depth_and_groups() -> None:
    ple = [case_of("ple", seed) for seed in CASES]
    assert {len(case.levels) for case in ple} == {1, 2, 3, 4}
    assert {len(case_of("ml_mmoe", seed).levels) for seed in CASES} == {1, 2, 3, 4}
    assert {len(case.groups) for case in ple} == {0, 1, 2}
    assert any("active" in case.groups.get("all", []) for case in ple)
    assert any(case_of("mmoe", seed).groups for seed in CASES)


def test_the_families_share_no_code_with_homespec() -> None:
    lines = (Path(__file__).parent / "families.py").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if "homespec" in line and "import" in line.split()]
