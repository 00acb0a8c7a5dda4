"""Runs that start from the weights of another one: of another spec, or of yesterday's data."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
from click.testing import CliRunner, Result
from lightning.pytorch.loggers import CSVLogger
from safetensors.torch import load_file
from small_spec import SMALL

import homespec
from homespec.cli.main import cli
from homespec.train import RunError, checkpoint, report, run
from homespec.train.datamodule import Rows
from homespec.train.lit_module import RankingModule
from homespec.train.settings import Settings
from homespec.train.source import digest
from homespec.train.trainer import undisturbed

SETTINGS = Settings(batch_size=128, limit_rows=700, compile=False, lr=1e-2, checkpoint_every=2)
FITTED = SMALL.replace(
    "bucketize: [10000, 18000, 30000, 60000, 120000]", "bucketize: {quantiles: 8}"
)
MORE = FITTED.replace("comment_stay]", "comment_stay, follow]").replace(
    "tasks:\n", "tasks:\n  follow: {label: is_follow}\n"
)
"""A task more: its expert, gates and tower are new, and the group's gates weigh nothing else."""
WIDER = FITTED.replace("meta: {shared: 1", "meta: {shared: 2")
"""An expert more, which gates weigh."""
RENAMED = FITTED.replace("comment_stay]", "reading]").replace(
    "  comment_stay: {", "  reading: {was: comment_stay, "
)


def silent(line: str) -> None:
    pass


def train(text: str, data: Path, out: Path, say: Any = silent, **changed: Any) -> run.Result:
    place = {key: changed.pop(key) for key in ("resume", "overwrite") if key in changed}
    settings = dataclasses.replace(SETTINGS, **changed)
    return run.train(homespec.loads(text), run.Place([data], out, **place), settings, say)


@pytest.fixture(scope="module")
def yesterday(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs, of which the last is the best."""
    out = tmp_path_factory.mktemp("runs") / "yesterday"
    result = train(FITTED, data, out, epochs=2, monitor="logloss")
    assert result.history.best == 2
    return out


def last(out: Path) -> checkpoint.Checkpoint:
    return checkpoint.read(out / "checkpoints" / "last")


def metrics(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return found


# ---------------------------------------------------------------- the same spec, new data


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
    train(FITTED, data, tmp_path / "longer", epochs=3, resume=True, monitor="logloss")
    training = Rows.training
    monkeypatch.setattr(
        Rows, "training", lambda self, epoch, *args: training(self, epoch + 2, *args)
    )
    train(FITTED, data, tmp_path / "today", init_from=str(yesterday), monitor="logloss")
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


class StoppedError(Exception):
    """As if a run were killed."""


# ---------------------------------------------------------------- another spec


def test_a_task_more(yesterday: Path, data: Path, tmp_path: Path) -> None:
    """Before the first step the old tasks are what they were."""
    said: list[str] = []
    out = tmp_path / "more"
    start = {"init_from": str(yesterday), "new_choice": "closed", "new_input": "zero"}
    result = train(MORE, data, out, said.append, epochs=1, monitor="auc/follow", **start)
    before, after = metrics(yesterday)["history"][1], metrics(out)["history"][0]
    for task, measured in before["tasks"].items():
        assert after["tasks"][task] == pytest.approx(measured, rel=1e-5)
    assert "`follow`: new" in said
    assert any("without the optimiser's moments: they are of another spec" in line for line in said)
    assert any(
        line.startswith("  new      experts.task.follow.0.linears.0.weight") for line in said
    )
    assert result.init_from is not None
    assert not result.init_from["moments"]


def test_moments_are_carried_over_to_another_spec(
    yesterday: Path, data: Path, tmp_path: Path
) -> None:
    """By `migrate` or at once, with the same bits; towers that are kept have their moments."""
    new = tmp_path / "wider.yaml"
    new.write_text(WIDER)
    words = ["migrate", str(yesterday), "--to", str(new), "-o", str(tmp_path / "moved")]
    done = invoke(*words, "--moments", "--new-choice", "closed")
    assert done.exit_code == 0, done.output
    moved, old = load_file(tmp_path / "moved" / "optimizer.safetensors"), last(yesterday)
    for kind in ("exp_avg", "exp_avg_sq", "step"):
        for task in ("click", "finish", "like", "comment_stay"):
            key = f"{kind}/towers.{task}.linears.0.weight"
            assert torch.equal(moved[key], old.optimizer[key])
            assert moved[key].any()
    train(WIDER, data, tmp_path / "a", init_from=str(tmp_path / "moved"), init_moments=True)
    start = {"init_from": str(yesterday), "new_choice": "closed"}
    train(WIDER, data, tmp_path / "b", init_moments=True, **start)
    one, other = (last(tmp_path / name) for name in "ab")
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert one.optimizer["step/towers.click.linears.0.weight"] == 15


def test_the_first_steps_of_new_parts_are_no_longer_than_the_learning_rate(
    yesterday: Path, data: Path, tmp_path: Path
) -> None:
    """Though the others of their tensor have counted many steps."""
    start = {"init_from": str(yesterday), "new_choice": "mean", "init_moments": True}
    module = RankingModule(homespec.loads(WIDER), dataclasses.replace(SETTINGS, **start))
    state = module.code.logical_state(module.model)
    name = "experts.meta.shared.1.linears.0.weight"
    before = state[name].clone()
    for tensor in module.model.parameters():
        tensor.grad = torch.randn_like(tensor) * 1e-3
    module.train_step.optimizer.step()
    assert (state[name] - before).abs().max() < 10 * SETTINGS.lr


def test_weights_alone(yesterday: Path, data: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.yaml"
    old.write_text(FITTED)
    start = {"init_from": str(yesterday / "model.safetensors"), "init_spec": str(old)}
    train(FITTED, data, tmp_path / "run", **start)
    assert len(metrics(tmp_path / "run")["history"]) == 2
    train(FITTED, data, tmp_path / "run", init_spec=str(old), overwrite=True, epochs=1)
    assert len(metrics(tmp_path / "run")["history"]) == 1


# ---------------------------------------------------------------- what is refused


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


@pytest.mark.parametrize(
    ("text", "changed", "message"),
    [
        (WIDER, {}, "say how that starts with --new-choice closed|mean|fresh"),
        (FITTED, {"init_from": "gone"}, "--init-from gone does not exist"),
        (
            FITTED,
            {"init_from": "FILE"},
            "does not say which spec it is of: name it with --init-spec",
        ),
        (FITTED, {"init_from": "EMPTY"}, "holds no run of homespec train"),
        (FITTED, {"out": "."}, "is in the folder of this run"),
        (
            FITTED,
            {"table_optimizer": "adagrad", "init_moments": True},
            "train with the --optimizer",
        ),
        (FITTED, {"init_spec": "MORE"}, "is a run of another spec"),
        (FITTED, {"freeze": ("towers.clack.*",)}, "--freeze towers.clack.* matches no weight"),
        (FITTED, {"freeze": ("*",)}, "leaves nothing to train"),
    ],
)
def test_what_cannot_start(
    text: str, changed: dict[str, Any], message: str, yesterday: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "more.yaml").write_text(MORE)
    known = {
        "FILE": str(yesterday / "model.safetensors"), "EMPTY": str(tmp_path),
        "MORE": str(tmp_path / "more.yaml"),
    }  # fmt: skip
    changed = {k: known.get(v, v) if isinstance(v, str) else v for k, v in changed.items()}
    out = yesterday if changed.pop("out", "") else tmp_path / "run"
    with pytest.raises(RunError) as error:
        train(text, data, out, overwrite=True, **{"init_from": str(yesterday)} | changed)
    assert message in str(error.value)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("*.json"))


def test_another_table_optimizer_starts_without_moments(
    yesterday: Path, data: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    start = {"init_from": str(yesterday), "table_optimizer": "adagrad"}
    train(FITTED, data, tmp_path / "run", said.append, **start)
    assert "without the optimiser's moments: they are those of --table-optimizer adam" in said


def test_on_the_command_line(yesterday: Path, data: Path, tmp_path: Path) -> None:
    spec = tmp_path / "wider.yaml"
    spec.write_text(WIDER)
    words = ["train", str(spec), "--data", str(data), "--out", str(tmp_path / "run")]
    words += ["--batch-size", "128", "--limit-rows", "700", "--no-compile"]
    words += ["--init-from", str(yesterday), "--freeze", "towers.*", "--freeze", "features.*"]
    refused = invoke(*words)
    assert refused.exit_code == 2
    assert "--new-choice closed|mean|fresh" in refused.stderr
    done = invoke(*words, "--new-choice", "closed")
    assert done.exit_code == 0, done.output
    assert "epoch 0 AUC" in done.stdout
    assert "frozen: " in done.stdout
    again = invoke(*words, "--new-choice", "closed", "--resume", "--epochs", "2")
    assert again.exit_code == 0, again.output
    assert "epoch 0 AUC" in again.stdout
    other = invoke(*words[:-2], "--new-choice", "closed", "--resume")
    assert other.exit_code == 2
    assert "was started with --freeze towers.* --freeze features.*" in other.stderr


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
    report.show(result, tmp_path / "run")
    assert "No epoch is better by logloss than epoch 0" in capsys.readouterr().out


def test_learned_weights_of_losses_need_the_same_tasks(data: Path, tmp_path: Path) -> None:
    """Whatever they are called. With fixed weights there is nothing to leave out."""
    one, lines = tmp_path / "one", []
    train(FITTED, data, one, weighting="uncertainty")
    for name, text in (("more", MORE), ("renamed", RENAMED)):
        new = tmp_path / f"{name}.yaml"
        new.write_text(text)
        words = ["migrate", str(one), "--to", str(new), "-o", str(tmp_path / name), "--moments"]
        done = invoke(*words, "--new-choice", "closed")
        assert done.exit_code == 0, done.output
        lines.append("learned weights of losses are not carried over" in done.stderr)
    assert lines == [True, False]
    said: list[str] = []
    train(FITTED, data, tmp_path / "fixed")
    start: dict[str, Any] = {"init_moments": True, "init_from": str(tmp_path / "fixed")}
    train(MORE, data, tmp_path / "two", said.append, new_choice="closed", **start)
    assert not any("weights of losses" in line for line in said)


def test_a_damaged_source_is_named(yesterday: Path, data: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(yesterday, tmp_path / "source"))
    weights = source / "checkpoints" / "last" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RunError, match=r"does not match its checksum.*start from other weights"):
        train(FITTED, data, tmp_path / "run", init_from=str(source))
    (source / "spec.yaml").unlink()
    with pytest.raises(
        RunError, match="does not say which spec it is of: name it with --init-spec"
    ):
        train(FITTED, data, tmp_path / "run", init_from=str(source))
