"""Runs of one spec that start from each other: new data, the same weights and boundaries."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from warm_runs import FITTED, SETTINGS, WIDER, last, metrics, train

import homespec
from homespec.train import checkpoint, report
from homespec.train.datamodule import Rows
from homespec.train.lit_module import RankingModule
from homespec.train.tensor_bytes import digest
from homespec.train.trainer import undisturbed


class StoppedError(Exception):
    """As if a run were killed."""


def test_a_new_day_goes_on_from_the_last_one(yesterday: Path, data: Path, tmp_path: Path) -> None:
    """Weights, moments and boundaries are kept; epoch 0 is yesterday's model on today's rows."""
    said: list[str] = []
    result = train(FITTED, data, tmp_path / "today", said.append, init_from=str(yesterday))
    before, after = last(yesterday), last(tmp_path / "today")
    step = before.optimizer["step/towers.click.linears.0.weight"]
    assert after.optimizer["step/towers.click.linears.0.weight"] == step + 5
    assert after.state["at"] == {"epoch": 1, "batch": 0, "step": 5}
    name = "features.duration_ms.boundaries"
    assert torch.equal(before.weights[name], after.weights[name])
    kept = json.loads((tmp_path / "today" / "boundaries.json").read_text())
    assert kept["features"]["duration_ms"]["boundaries"] == before.weights[name].tolist()
    start, first = metrics(tmp_path / "today")["history"]
    assert (start["epoch"], start["step"], first["epoch"]) == (0, 0, 1)
    assert start["tasks"] == metrics(yesterday)["history"][1]["tasks"]  # of the same held-out rows
    assert result.history.best == 1
    assert f"starting from the weights and the optimiser's moments in {yesterday}/" in said[1]
    assert "boundaries of duration_ms are carried over, not fitted again" in said
    origin = {
        "path": str(yesterday),
        "spec": "small",
        "weights_sha256": digest(before.weights),
        "moments": True,
    }
    for file in ("metrics.json", "settings.json", "checkpoints/last/state.json"):
        assert json.loads((tmp_path / "today" / file).read_text())["init_from"] == origin


def test_the_first_step_is_the_one_that_yesterday_would_have_made(
    yesterday: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the rows of its third epoch: a run that starts from another is that run, continued."""
    shutil.copytree(yesterday, tmp_path / "longer")
    settings: dict[str, Any] = {"monitor": "logloss", "schedule": "constant"}
    train(FITTED, data, tmp_path / "longer", epochs=3, resume=True, **settings)
    training = Rows.training
    monkeypatch.setattr(
        Rows, "training", lambda self, epoch, *args: training(self, epoch + 2, *args)
    )
    train(FITTED, data, tmp_path / "today", init_from=str(yesterday), **settings)
    one, other = (last(tmp_path / name) for name in ("longer", "today"))
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    keys = [key for key in one.optimizer if not key.startswith("random/")]
    assert all(torch.equal(one.optimizer[key], other.optimizer[key]) for key in keys)


def test_without_moments_the_best_epoch_counts(data: Path, tmp_path: Path) -> None:
    """A last epoch that is not the best is no place to start from, unless one says so."""
    out, said = tmp_path / "yesterday", list[str]()
    train(FITTED, data, out, epochs=3, lr=0.2)
    best = checkpoint.read(out / "checkpoints" / "best")
    assert best.state["at"]["epoch"] < 3
    result = train(FITTED, data, tmp_path / "best", said.append, init_from=str(out))
    assert result.init_from is not None
    assert result.init_from["weights_sha256"] == digest(best.weights)
    assert any(
        line.startswith("without the optimiser's moments: the run has them") for line in said
    )
    assert last(tmp_path / "best").optimizer["step/towers.click.linears.0.weight"] == 5
    settings: dict[str, Any] = {"init_from": str(out), "init_moments": True}
    result = train(FITTED, data, tmp_path / "last", **settings)
    assert result.init_from["weights_sha256"] == digest(last(out).weights)


@pytest.mark.parametrize("optimize", [True, False])
def test_a_killed_run_does_not_migrate_again(
    yesterday: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimize: bool
) -> None:
    """It ends with the bits of one that nothing stopped, though what it started from is gone."""
    source = Path(shutil.copytree(yesterday, tmp_path / "source"))
    start: dict[str, Any] = {
        "init_from": str(source), "new_choice": "mean", "freeze": ("experts.*.watch.*",),
        "init_moments": True, "epochs": 2, "optimize": optimize, "weight_decay": 0.01,
    }  # fmt: skip
    train(WIDER, data, tmp_path / "whole", **start)
    with monkeypatch.context() as patch:
        step, done = RankingModule.training_step, []

        def stopping(*args: Any) -> Any:
            done.append(0)
            if len(done) == 4:
                raise StoppedError
            return step(*args)

        patch.setattr(RankingModule, "training_step", stopping)
        with pytest.raises(StoppedError):
            train(WIDER, data, tmp_path / "killed", **start)
    shutil.rmtree(source)
    train(WIDER, data, tmp_path / "killed", resume=True, **start)
    one, other = (last(tmp_path / name) for name in ("whole", "killed"))
    for of_one, of_other in ((one.weights, other.weights), (one.optimizer, other.optimizer)):
        assert of_one.keys() == of_other.keys()
        assert all(torch.equal(of_one[name], of_other[name]) for name in of_one)
    assert one.state["history"] == other.state["history"]
    assert one.state["init_from"] == other.state["init_from"]
    assert (tmp_path / "whole" / "losses.csv").read_bytes() == (
        tmp_path / "killed" / "losses.csv"
    ).read_bytes()


def test_another_table_optimizer_starts_without_moments(
    yesterday: Path, data: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    start = {"init_from": str(yesterday), "table_optimizer": "adagrad"}
    train(FITTED, data, tmp_path / "run", said.append, **start)
    assert "without the optimiser's moments: they belong to --table-optimizer adam" in said


def test_learned_weights_of_losses_go_on(data: Path, tmp_path: Path) -> None:
    one, said = tmp_path / "one", list[str]()
    train(FITTED, data, one, weighting="uncertainty")
    train(FITTED, data, tmp_path / "two", weighting="uncertainty", init_from=str(one))
    key = "step/weighting.log_variance_T"
    assert last(tmp_path / "two").optimizer[key] == 2 * last(one).optimizer[key]
    train(FITTED, data, tmp_path / "three", said.append, init_from=str(one))
    assert "learned weights of losses are not carried over" in " ".join(said)


def test_a_trainer_of_ones_own_starts_alike(yesterday: Path, data: Path, tmp_path: Path) -> None:
    """With the same bits as `train`; and `validate` before it is epoch 0."""
    start = {"init_from": yesterday, "freeze": ["towers.*"]}
    out = tmp_path / "run"
    train(FITTED, data, out, **start)
    spec, settings = homespec.loads(FITTED), dataclasses.replace(SETTINGS, **start)
    module = RankingModule(spec, settings)
    rows = homespec.RankingData(spec, data, settings=settings)
    trainer = lightning.Trainer(
        max_epochs=1, logger=CSVLogger(tmp_path), enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )  # fmt: skip
    with undisturbed():
        trainer.validate(module, datamodule=rows, verbose=False)
        assert module.measured == metrics(out)["history"][0]["tasks"]
        trainer.fit(module, datamodule=rows)
    state, wanted = module.code.logical_state(module.model), last(out).weights
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)
    assert RankingModule(spec, settings, warm=False).start is None


def test_epoch_0_is_logged_at_step_0(yesterday: Path, data: Path, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(FITTED, data, tmp_path / "run", init_from=str(yesterday))
    found = events.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    history = metrics(tmp_path / "run")["history"]
    for at, entry in zip(found.Scalars("auc/click"), history, strict=True):
        assert at.step == entry["step"]
        assert at.value == pytest.approx(entry["tasks"]["click"]["auc"])
    assert [at.step for at in found.Scalars("auc/click")] == [0, 5]


def test_a_run_that_makes_things_worse_says_so(
    yesterday: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start: dict[str, Any] = {"init_from": str(yesterday), "monitor": "logloss", "lr": 0.5}
    result = train(FITTED, data, tmp_path / "run", **start)
    report.show(result, tmp_path / "run", [data])
    assert "No epoch is better by logloss than epoch 0" in capsys.readouterr().out
