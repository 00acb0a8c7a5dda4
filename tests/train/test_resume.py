"""A run that dies, at whatever moment, and is resumed ends as one that was never stopped."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import steps
import torch
from small_spec import SMALL
from steps import MOMENTS, SETTINGS

import homespec
from homespec.api import LoadedSpec
from homespec.data import data_files
from homespec.train import RunError, checkpoint, datamodule, lit_module, run
from homespec.train.losses import means
from homespec.train.optimizer_state import load_moments, moments
from homespec.train.settings import Settings
from homespec.train.torch_compile import obstacle


@pytest.fixture(scope="module")
def uninterrupted(small: LoadedSpec, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing stopped."""
    out = tmp_path_factory.mktemp("uninterrupted")
    run.train(small, run.Place([data], out), SETTINGS, print)
    return out


def until(moment: str, data: Path, out: Path, *more: str) -> tuple[int, str]:
    """Train in a process until the moment; its exit code and what it printed."""
    command = [sys.executable, steps.__file__, data, out, moment, *more]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout, done.stderr)
    return done.returncode, done.stdout


def kept(out: Path, name: str = "last") -> dict[str, Any]:
    """All of a checkpoint but when and by what command it was made."""
    folder = out / "checkpoints" / name
    state = json.loads((folder / "state.json").read_text())
    return {
        "weights": (folder / "model.safetensors").read_bytes(),
        "moments": (folder / "optimizer.safetensors").read_bytes(),
        "state": {key: state[key] for key in ("at", "history", "model", "data")},
    }


def assert_same_run(out: Path, other: Path) -> None:
    for name in ("last", "best"):
        assert kept(out, name) == kept(other, name)
    for file in ("model.safetensors", "losses.csv"):
        assert (out / file).read_bytes() == (other / file).read_bytes()
    measured, wanted = (json.loads((p / "metrics.json").read_text()) for p in (out, other))
    for key in ("tasks", "history", "best_epoch"):
        assert measured[key] == wanted[key]


def test_killed_again_and_again(uninterrupted: Path, data: Path, tmp_path: Path) -> None:
    done = []
    for moment in MOMENTS:
        code, said = until(moment, data, tmp_path)
        assert code == (0 if moment == "never" else -signal.SIGKILL), moment
        assert ("training from the start" in said) == (len(done) < 2), moment
        last = tmp_path / "checkpoints" / "last"
        if checkpoint.recover(last):
            done.append(checkpoint.read(last).state["at"]["step"])
        else:
            done.append(0)
    assert done == [0, 4, 4, 8, 8, 11, 22, 28, 33, 33]
    assert_same_run(tmp_path, uninterrupted)


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))
def test_killed_when_compiled(data: Path, tmp_path: Path) -> None:
    outs = tmp_path / "killed", tmp_path / "not"
    assert until("between checkpoints", data, outs[0], "compiled")[0] == -signal.SIGKILL
    for out in outs:
        code, said = until("never", data, out, "compiled")
        assert code == 0
        assert "the training step was compiled once" in said
        assert "compiled again" not in said
    assert_same_run(*outs)


@pytest.mark.parametrize("form", ["optimize", "merge_tables"])
def test_a_run_goes_on_in_another_form(
    small: LoadedSpec, data: Path, tmp_path: Path, uninterrupted: Path, form: str
) -> None:
    """Batched, then with tables apart or one module for each expert: the same moments, so nearly
    the same losses."""
    run.train(small, run.Place([data], tmp_path), dataclasses.replace(SETTINGS, epochs=1), print)
    said: list[str] = []
    place = run.Place([data], tmp_path, resume=True)
    run.train(small, place, dataclasses.replace(SETTINGS, **{form: False}), said.append)
    flag = form.replace("_", "-")
    before = f"--{flag}" if form == "optimize" else f"its own choice of --{flag}"
    assert f"resumed with --no-{flag} instead of {before}" in said
    one, other = (means(p / "losses.csv", 12, 33) for p in (tmp_path, uninterrupted))
    assert one == pytest.approx(other, rel=1e-3)


@pytest.mark.parametrize(
    ("weighting", "table_optimizer", "optimizer"),
    [("uncertainty", "adagrad", "adamw"), ("gradnorm", "adam", "adam"),
     ("pcgrad", "adagrad", "adam"), ("cagrad", "adam", "adamw")],
)  # fmt: skip
def test_all_that_learns_goes_on(
    small: LoadedSpec, data: Path, tmp_path: Path, weighting: str, table_optimizer: str,
    optimizer: str,
) -> None:  # fmt: skip
    """Also what draws random numbers (pcgrad) and what remembers the first batch (gradnorm)."""
    if weighting in ("pcgrad", "cagrad"):
        pytest.importorskip("torchjd")
    if weighting == "cagrad":
        pytest.importorskip("cvxpy")
    settings = dataclasses.replace(
        SETTINGS, epochs=2, limit_rows=700, weighting=weighting, table_optimizer=table_optimizer,
        optimizer=optimizer, weight_decay=0.01,
    )  # fmt: skip
    assert_goes_on(small, data, tmp_path, settings)
    state = checkpoint.read(tmp_path / "a" / "checkpoints" / "last").optimizer
    assert ("sum/features.user_id.weight" in state) == (table_optimizer == "adagrad")
    assert any(name.startswith("weighting/") for name in state)


def assert_goes_on(spec: LoadedSpec, data: Path, folder: Path, settings: Settings) -> None:
    """A run of two epochs, `a`, and one of one epoch that is resumed, `b`, are the same."""
    run.train(spec, run.Place([data], folder / "a"), settings, print)
    once = dataclasses.replace(settings, epochs=1)
    run.train(spec, run.Place([data], folder / "b"), once, print)
    run.train(spec, run.Place([data], folder / "b", resume=True), settings, print)
    assert_same_run(folder / "a", folder / "b")


def test_weights_of_rows_go_on(data: Path, tmp_path: Path) -> None:
    """With what learns from weighted losses, and metrics by weights; other weights are refused."""
    task = "like: {label: is_like, where: click, outside_weight: 0.1, sample_weight: duration_ms}"
    spec = homespec.loads(SMALL.replace("like: {label: is_like}", task))
    settings = dataclasses.replace(
        SETTINGS, epochs=2, limit_rows=700, weighting="gradnorm", weighted_metrics=True
    )
    assert_goes_on(spec, data, tmp_path, settings)
    for changed in (task.replace("duration_ms", "play_time_ms"), task.replace("0.1", "0.2")):
        other = homespec.loads(SMALL.replace("like: {label: is_like}", changed))
        with pytest.raises(
            RunError, match=r"belongs to another spec: `tasks\.like\.\w+_weight` is"
        ):
            run.train(other, run.Place([data], tmp_path / "b", resume=True), settings, print)


def test_dropout_and_what_it_acts_on_go_on(data: Path, tmp_path: Path) -> None:
    """The masks are those of a run that nothing stopped; norms of towers and slopes are kept."""
    more = """feature_dropout: 0.1
towers: {hidden: [8], norm: batch, activation: prelu, dropout: 0.3}
experts: {dropout: 0.2, hidden: [8], hidden_activation: prelu, """
    spec = homespec.loads(SMALL.replace("experts: {", more))
    settings = dataclasses.replace(SETTINGS, epochs=2, limit_rows=700)
    assert_goes_on(spec, data, tmp_path, settings)
    weights = checkpoint.read(tmp_path / "a" / "checkpoints" / "last").weights
    assert weights["towers.click.hidden.0.norm.running_var"].std() > 0
    assert weights["towers.click.hidden.0.act.weight"] != 0.25


@pytest.mark.parametrize("other", [{"optimize": False}, {"skip_passes": ["batch-features"]}])
@pytest.mark.parametrize("first", [True, False])
def test_moments_outlive_another_batching(
    small: LoadedSpec, other: dict[str, Any], first: bool
) -> None:
    """What one form stores, the other one loads and stores again, bit by bit."""
    stored: list[dict[str, torch.Tensor]] = []
    for form in ({}, other) if first else (other, {}):
        code = homespec.build_module(small, **form)
        model = homespec.build(small, **form)
        names = {parameter: name for name, parameter in model.named_parameters()}
        adam = torch.optim.Adam(model.parameters(), fused=True)
        if stored:
            load_moments(partial(code.logical_views, model), names, adam, stored[0])
        else:
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            adam.step()
        stored.append(moments(partial(code.logical_views, model), names, adam))
    one, two = stored
    assert "exp_avg_sq/towers.click.linears.0.weight" in one
    assert one["step/features.user_id.weight"] == 1
    assert one.keys() == two.keys()
    assert all(one[name].equal(two[name]) for name in one)


def test_best_is_written_again_where_it_is_missing_or_stale(
    small: LoadedSpec, data: Path, tmp_path: Path
) -> None:
    """As after a death between `last` and `best`."""
    once = dataclasses.replace(SETTINGS, epochs=1)
    run.train(small, run.Place([data], tmp_path), once, print)
    folder = tmp_path / "checkpoints" / "best"
    wanted, weights = kept(tmp_path, "best"), (tmp_path / "model.safetensors").read_bytes()
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"at": {"epoch": 0}}))
    (folder / "model.safetensors").write_bytes((folder / "optimizer.safetensors").read_bytes())
    for _ in range(2):
        run.train(small, run.Place([data], tmp_path, resume=True), once, print)
        assert kept(tmp_path, "best") == wanted
        assert (tmp_path / "model.safetensors").read_bytes() == weights
        shutil.rmtree(folder)


class StoppedError(Exception):
    """As if a run were killed, but in this process."""


def stop_after(number: int, patch: pytest.MonkeyPatch) -> None:
    """Let a run end in the midst of an epoch."""
    count, step = itertools.count(1), lit_module.RankingModule.training_step

    def stopping(*args: Any) -> Any:
        if next(count) == number:
            raise StoppedError
        return step(*args)

    patch.setattr(lit_module.RankingModule, "training_step", stopping)


def test_a_streamed_run_goes_on_inside_a_row_group(
    small: LoadedSpec, data: Path, tmp_path: Path, uninterrupted: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A window begins many scan batches after its row group does."""
    monkeypatch.setattr(datamodule, "CACHE_BYTES", 0)
    monkeypatch.setattr(data_files, "SCAN_ROWS", 50)
    place = run.Place([data], tmp_path / "in one window")
    run.train(small, place, SETTINGS, print)
    assert_same_run(place.out, uninterrupted)  # which has its rows in memory
    settings = dataclasses.replace(SETTINGS, shuffle_rows=300)
    run.train(small, run.Place([data], tmp_path / "whole"), settings, print)
    place = run.Place([data], tmp_path / "stopped", resume=True)
    for number in (8, 16):
        with monkeypatch.context() as patch:
            stop_after(number, patch)
            with pytest.raises(StoppedError):
                run.train(small, place, settings, print)
    assert checkpoint.read(place.out / "checkpoints" / "last").state["at"]["step"] == 16
    run.train(small, place, settings, print)
    assert_same_run(place.out, tmp_path / "whole")
