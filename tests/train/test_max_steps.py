"""`--max-steps` ends a run at a step, and a greater one continues from there to the same bits."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from test_resume import kept

import homespec
from homespec.api import LoadedSpec
from homespec.train import RunError, checkpoint, run
from homespec.train.lit_module import RankingModule
from homespec.train.notes import few_steps, idle
from homespec.train.settings import Settings, total_steps

SETTINGS = Settings(
    epochs=3, batch_size=128, limit_rows=700, compile=False, lr=1e-2, schedule="constant",
    checkpoint_every=2, table_optimizer="adagrad", l2=("features.*=1e-4",), weighting="gradnorm",
)  # fmt: skip
"""Five steps an epoch."""


def go(
    spec: LoadedSpec, data: Path, out: Path, max_steps: int | None, **changed: Any
) -> tuple[run.Result, list[str]]:
    said: list[str] = []
    settings = dataclasses.replace(SETTINGS, max_steps=max_steps, **changed)
    result = run.train(spec, run.Place([data], out, resume=True), settings, said.append)
    return result, said


def bits(out: Path) -> tuple[bytes, bytes, bytes]:
    last = kept(out)
    return last["weights"], last["moments"], (out / "losses.csv").read_bytes()


def test_a_greater_budget_continues_with_the_same_bits(
    small: LoadedSpec, data: Path, tmp_path: Path
) -> None:
    """Inside of an epoch, at the end of one, and to the last epoch."""
    for most in (2, 5, 7, 8, None):
        result, _ = go(small, data, tmp_path / "raised", most)
    whole, _ = go(small, data, tmp_path / "whole", None)
    assert bits(tmp_path / "raised") == bits(tmp_path / "whole")
    entries = [(e["epoch"], e["step"], e.get("cut", False)) for e in result.history.epochs]
    assert entries == [(1, 2, True), (2, 5, False), (3, 7, True), (4, 8, True), (5, 10, False),
                       (6, 15, False)]  # fmt: skip
    assert [e["step"] for e in whole.history.epochs] == [5, 10, 15]
    assert result.history.epochs[-1]["tasks"] == whole.history.epochs[-1]["tasks"]
    best = checkpoint.read(tmp_path / "raised" / "checkpoints" / "best").state
    assert best["at"]["step"] == result.history.epochs[result.history.best - 1]["step"]


def test_the_end_of_a_budget_is_the_end_of_a_run(
    small: LoadedSpec, data: Path, tmp_path: Path
) -> None:
    """It is measured, and has all files; the rate is that of a run of that length."""
    result, _ = go(small, data, tmp_path, 7, schedule="linear")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert [entry["step"] for entry in metrics["history"]] == [5, 7]
    assert metrics["settings"]["max_steps"] == 7
    assert result.tasks["click"].auc == result.tasks["click"].auc
    assert homespec.load_run(tmp_path).metrics["best_epoch"] == result.history.best
    at = checkpoint.read(tmp_path / "checkpoints" / "last").state["at"]
    assert at == {"epoch": 1, "batch": 2, "step": 7}
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 8


class StopError(Exception):
    """What ends a process in the middle."""


@contextmanager
def dying_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that ends after this number of steps."""
    training_step, count = RankingModule.training_step, itertools.count()

    def dying(self: RankingModule, *args: Any) -> Any:
        if next(count) == step:
            raise StopError
        return training_step(self, *args)

    with monkeypatch.context() as patch, suppress(StopError):
        patch.setattr(RankingModule, "training_step", dying)
        yield
        pytest.fail("the process did not end")


@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_run_with_a_budget_that_dies_ends_the_same(
    small: LoadedSpec, data: Path, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(small, data, tmp_path / "whole", 7)
    with dying_at(step, monkeypatch):
        go(small, data, tmp_path / "died", 7)
    go(small, data, tmp_path / "died", 7)
    for name in ("last", "best"):
        assert kept(tmp_path / "died", name) == kept(tmp_path / "whole", name)
    assert bits(tmp_path / "died") == bits(tmp_path / "whole")


def test_a_budget_that_is_used_up(small: LoadedSpec, data: Path, tmp_path: Path) -> None:
    go(small, data, tmp_path, 7)
    before = bits(tmp_path)
    for most in (7, 4):
        _, said = go(small, data, tmp_path, most)
        assert "all steps are done; a greater --max-steps than 7 would train on" in said
    assert bits(tmp_path) == before


def test_a_budget_below_what_is_done_has_no_metrics(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dying_at(9, monkeypatch):
        go(small, data, tmp_path, None)
    for most in (7, 8):
        with pytest.raises(RunError) as error:
            go(small, data, tmp_path, most)
        assert str(error.value).startswith(
            f"{tmp_path} has taken 8 steps, and --max-steps {most} is not more: give a greater one"
        )
    result, _ = go(small, data, tmp_path, 9)
    assert [entry["step"] for entry in result.history.epochs] == [5, 9]


def test_patience_counts_a_part_of_an_epoch(small: LoadedSpec, data: Path, tmp_path: Path) -> None:
    """The next run does not, whatever stopped the one before."""
    result, _ = go(small, data, tmp_path, 7, patience=5)
    assert len(result.history.epochs) == 2


def test_what_is_said_of_a_budget() -> None:
    assert [total_steps(Settings(epochs=2, max_steps=n), 5) for n in (3, 10, 11)] == [3, 10, 10]
    assert list(idle(Settings(epochs=2, max_steps=10), 5)) == []
    assert list(idle(Settings(epochs=2, max_steps=43), 5)) == [
        "the run ends after the 10 steps of --epochs 2, before --max-steps 43: --epochs 9 takes"
        " them all"
    ]
    assert list(idle(Settings(max_steps=3, warmup_steps=4), 5)) == [
        "the run has 3 steps, not more than --warmup-steps 4, so the learning rate only rises"
    ]
    assert few_steps(Settings(max_steps=80, epochs=9), 100_000) is None
    with pytest.raises(ValueError, match="max_steps is 0, not a number of at least 1"):
        Settings(max_steps=0)
