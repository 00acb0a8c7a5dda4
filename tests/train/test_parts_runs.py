"""Runs with rates, penalties and optimisers of their own: resumed, compiled, logged, warm."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from parts_by_hand import step_of
from small_spec import SMALL
from test_resume import assert_goes_on

import homespec
from homespec.train import RunError, checkpoint, run
from homespec.train.lit_module import RankingModule
from homespec.train.losses import means
from homespec.train.settings import Settings, changes
from homespec.train.torch_compile import obstacle

LEARNING: dict[str, dict[str, Any]] = {
    "rates": {
        "lr_of": ("features.*=0.5x", "experts.*.watch.*=1e-3", "towers.like.*=0"),
        "l2": ("*=1e-4",),
    },
    "sparse": {
        "table_optimizer": "adagrad",
        "lr_of": ("features.tag.*=0.1x",),
        "l1": ("features.*=1e-4",),
    },
    "sgd": {"optimizer": "sgd", "lr": 0.1, "schedule": "exponential", "half_life": 7.0},
    "adagrad": {"optimizer": "adagrad", "weighting": "gradnorm", "l2": ("towers.*=1e-3",)},
    "surgery": {
        "weighting": "pcgrad",
        "table_optimizer": "adagrad",
        "lr_of": ("*=0.5x",),
        "l2": ("*=1e-4",),
    },
}
SHORT = Settings(
    epochs=2, batch_size=128, limit_rows=700, compile=False, lr=1e-2, clip=5.0, schedule="constant",
    checkpoint_every=4,
)  # fmt: skip


@pytest.mark.parametrize("case", LEARNING)
def test_a_resumed_run_is_the_same(case: str, data: Path, tmp_path: Path) -> None:
    if "pcgrad" in LEARNING[case].values():
        pytest.importorskip("torchjd")
    settings = dataclasses.replace(SHORT, **LEARNING[case])
    assert_goes_on(homespec.loads(SMALL), data, tmp_path, settings)


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))
@pytest.mark.parametrize("case", ["rates", "sparse"])
def test_compiled(case: str, data: Path, tmp_path: Path) -> None:
    found = []
    for compiled in (True, False):
        settings = dataclasses.replace(SHORT, **LEARNING[case], compile=compiled)
        out = tmp_path / str(compiled)
        result = run.train(homespec.loads(SMALL), run.Place([data], out), settings, print)
        assert result.compilations == int(compiled)
        found.append(means(out / "losses.csv", 1, 10))
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_bf16_keeps_rates_and_penalties(data: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SHORT, **LEARNING["rates"], precision="bf16")
    said: list[str] = []
    run.train(homespec.loads(SMALL), run.Place([data], tmp_path), settings, said.append)
    assert [line for line in said if line.startswith(("learning rate", "--l2", "frozen"))] == [
        "frozen: 4 of 119 weights and statistics, 1,153 of 35,902 numbers",
        "learning rate of features.*: 0.005, 5 weights, 24,208 numbers",
        "learning rate of experts.*.watch.*: 0.001, 6 weights, 960 numbers",
        "--l2 penalises 55 weights, 33,888 numbers",
    ]
    last = checkpoint.read(tmp_path / "checkpoints" / "last").weights
    fresh = RankingModule(homespec.loads(SMALL), settings)
    for name, start in fresh.code.logical_state(fresh.model).items():
        assert last[name].equal(start) == name.startswith("towers.like."), name


def test_what_may_change_in_a_resumed_run() -> None:
    before = Settings(lr_of=("towers.*=0.1x", "gates.*=0"), l2=("*=1",))
    now = dataclasses.replace(before, lr_of=("towers.*=0.2x", "gates.*=0"), l2=())
    assert list(changes(before, now)) == [
        "--lr-of towers.*=0.2x --lr-of gates.*=0 instead of --lr-of towers.*=0.1x --lr-of"
        " gates.*=0",
        "no --l2 instead of --l2 *=1",
    ]
    for other in (("towers.*=0.1x",), ("towers.*=0", "gates.*=0"), ()):
        with pytest.raises(RunError, match="the run was started with --lr-of"):
            list(changes(before, dataclasses.replace(before, lr_of=other)))


def test_each_rule_has_its_rate_in_the_logs() -> None:
    settings = Settings(
        lr=0.02, table_optimizer="adagrad", table_lr=0.1, warmup_steps=4, schedule="constant",
        lr_of=("*=0.5x", "towers.*=0.3", "features.user.*=2x", "gates.*=0"),
    )  # fmt: skip
    step = step_of(settings)
    step.schedule(100)
    assert step.learning_rates() == pytest.approx(
        {
            "lr": 0.005, "table_lr": 0.025, "lr/*": 0.0025, "table_lr/*": 0.0125,
            "lr/towers.*": 0.075, "table_lr/features.user.*": 0.05,
        }
    )  # fmt: skip


def test_moments_of_another_optimiser_are_not_carried_over(data: Path, tmp_path: Path) -> None:
    spec = homespec.loads(SMALL)
    run.train(spec, run.Place([data], tmp_path / "a"), dataclasses.replace(SHORT, epochs=1), print)
    settings = dataclasses.replace(SHORT, optimizer="sgd", init_from=str(tmp_path / "a"))
    module = RankingModule(spec, settings)
    assert module.start is not None
    assert "without the optimiser's moments: they belong to --optimizer adam" in module.start.lines
    with pytest.raises(RunError, match="which the optimiser of this run does not have"):
        RankingModule(spec, dataclasses.replace(settings, init_moments=True))
    again = dataclasses.replace(SHORT, optimizer="adamw", init_from=str(tmp_path / "a"))
    start = RankingModule(spec, again).start
    assert start is not None
    assert start.about["moments"]
