"""Training runs: they learn, repeat, and leave whole files; the command line says what is wrong."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

import homespec
from homespec.api import LoadedSpec
from homespec.cli import train as cli_train
from homespec.cli.main import cli, main
from homespec.data import DataError
from homespec.data.batches import as_batch
from homespec.data.data_files import open_files
from homespec.data.in_memory import load_rows
from homespec.train import (
    metrics,
    optimizers,
    report,
    result,
    run,
    torch_compile,
    trainer,
    weighting,
)
from homespec.train.notes import few_steps, idle
from homespec.train.result import Result
from homespec.train.settings import FLAGS, Settings
from homespec.train.torch_compile import decide, obstacle

EAGER = Settings(batch_size=256, lr=1e-2, compile=False)


def train(spec: LoadedSpec, data: Path, out: Path, settings: Settings, say: Any = print) -> Any:
    """Train in place of what was trained there before."""
    return run.train(spec, run.Place([data], out, overwrite=True), settings, say)


@pytest.fixture(scope="module")
def trained(small: LoadedSpec, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A training run: its result, what it said, its folder."""
    out = tmp_path_factory.mktemp("run")
    said: list[str] = []
    result = train(small, data, out, EAGER, said.append)
    return result, said, out


def test_it_learns(trained: Any) -> None:
    result, said, _ = trained
    for task in result.tasks.values():
        assert task.loss_last < task.loss_first
    for name in ("click", "finish"):
        task = result.tasks[name]
        assert task.auc < task.bayes_auc + 0.02
        assert task.auc > 0.6
    assert result.tasks["click"].rate == pytest.approx(0.45, abs=0.03)
    assert result.rows_train + result.rows_valid == 12_000
    left_out = result.rows_train % 256
    assert f"leaves out {left_out} rows that do not fill a batch of 256" in said[0]
    assert said[1] == "training in eager mode, as requested"


def test_files(trained: Any, small: LoadedSpec) -> None:
    result, _, out = trained
    names = {"model.safetensors", "metrics.json", "losses.csv", "settings.json", "spec.yaml"}
    assert {p.name for p in out.iterdir()} - {"tensorboard", "checkpoints"} == names
    written = json.loads((out / "metrics.json").read_text())
    assert written["tasks"]["click"]["auc"] == result.tasks["click"].auc
    assert written["settings"]["lr"] == 1e-2
    with (out / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == result.rows_train // 256
    first = [float(row["click"]) for row in rows[: math.ceil(len(rows) / 10)]]
    assert sum(first) / len(first) == pytest.approx(result.tasks["click"].loss_first, rel=1e-4)


def test_weights_by_logical_names_give_the_trained_model(
    trained: Any, small: LoadedSpec, data: Path
) -> None:
    result, _, out = trained
    state = safetensors.torch.load_file(out / "model.safetensors")
    assert "towers.click.linears.0.weight" in state
    code, model = homespec.build_module(small), homespec.build(small)
    assert state.keys() == code.logical_state(model).keys()
    code.load_logical_state(model, state)
    held = load_rows(small, open_files([data / "valid.parquet"]))
    assert held is not None
    valid = as_batch(held)
    with torch.no_grad():
        logits = model.eval()(valid.features)
    auc = metrics.auc(logits["click"].numpy(), valid.labels["click"].numpy())
    assert auc == pytest.approx(result.tasks["click"].auc, abs=1e-6)


def test_the_same_seed_gives_the_same_weights(
    small: LoadedSpec, data: Path, tmp_path: Path
) -> None:
    settings = Settings(batch_size=256, compile=False, limit_rows=1000)
    weights = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        train(small, data, tmp_path / name, Settings(**vars(settings) | {"seed": seed}), print)
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_epochs_and_bf16(small: LoadedSpec, data: Path, tmp_path: Path) -> None:
    settings = Settings(epochs=2, batch_size=256, precision="bf16", compile=False, limit_rows=1000)
    result = train(small, data, tmp_path, settings)
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 1 + 2 * 3
    assert all(math.isfinite(task.loss_last) for task in result.tasks.values())
    state = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in state.values()} <= {torch.float32, torch.int64}


def test_evaluation_is_exact_whatever_the_precision_of_training(
    small: LoadedSpec, data: Path, tmp_path: Path
) -> None:
    """Logits of bfloat16 tie by the dozen: AUC and the best epoch would be those of the ties."""
    settings = Settings(
        epochs=1,
        batch_size=256,
        precision="bf16",
        compile=False,
        limit_rows=1000,
        gauc_by="user_id",
    )
    result = train(small, data, tmp_path, settings)
    code, model = homespec.build_module(small), homespec.build(small).eval()
    code.load_logical_state(model, safetensors.torch.load_file(tmp_path / "model.safetensors"))
    held = load_rows(small, open_files([data / "valid.parquet"]).first(1000), users="user_id")
    assert held is not None
    valid = as_batch(held)
    with torch.no_grad():
        logits = model(valid.features)
    for task, found in result.tasks.items():
        score, label = logits[task].numpy(), valid.labels[task].numpy()
        expected = metrics.measure("binary", score, label, held.users)
        assert {name: getattr(found, name) for name in expected} == pytest.approx(
            expected, rel=1e-6
        )
    assert len(logits["click"].unique()) > 4 * len(logits["click"].bfloat16().unique())


def test_too_few_rows(small: LoadedSpec, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fewer than one batch of 256: give a smaller --batch-size"):
        train(small, data, tmp_path, Settings(batch_size=256, limit_rows=100), print)
    assert list(tmp_path.iterdir()) == []


def test_words_that_are_no_settings() -> None:
    with pytest.raises(ValueError, match="schedule is 'cos', not constant or cosine or linear"):
        Settings(schedule="cos")


def test_what_has_no_effect_is_told() -> None:
    assert list(idle(Settings(), 10)) == []
    asked = Settings(table_lr=0.1, merge_tables=True, optimize=False, warmup_steps=12)
    assert list(idle(asked, 12)) == [
        "--table-lr has no effect without --table-optimizer adagrad",
        "--merge-tables has no effect with --no-optimize",
        "the run has 12 steps, not more than --warmup-steps 12, so the learning rate only rises",
    ]


@pytest.mark.parametrize(
    ("asked", "rows", "proposed"),
    [
        ({}, 131_177, "128 steps are few to learn from: `--batch-size 256` makes 512"),
        ({"epochs": 3}, 131_177, "384 steps are few to learn from: `--batch-size 512` makes 768"),
        ({"epochs": 4}, 131_177, None),  # 512 steps
        ({"batch_size": 256}, 131_177, None),
        ({"batch_size": 4096}, 30_000, "7 steps are few to learn from: `--batch-size 128` makes 2"),
        ({"batch_size": 200}, 30_000, None),  # the smallest that is proposed
        ({}, 2_000, None),  # no batch size makes enough steps of these
    ],
)
def test_few_steps_are_noted(asked: dict[str, int], rows: int, proposed: str | None) -> None:
    found = few_steps(Settings(**asked), rows)  # type: ignore[arg-type]
    assert found is None if proposed is None else found is not None and found.startswith(proposed)


def test_a_batch_that_is_proposed_can_be_dealt_to_all_processes() -> None:
    found = few_steps(Settings(batch_size=1023), 131_177, processes=3)
    assert found is not None
    assert "`--batch-size 255`" in found


def test_a_limit_of_rows_is_named(small: LoadedSpec, data: Path, tmp_path: Path) -> None:
    told = "has 100 rows by --limit-rows, fewer than one batch of 256: .* or more rows"
    with pytest.raises(DataError, match=told):
        train(small, data, tmp_path, Settings(batch_size=256, limit_rows=100), print)


def test_a_task_without_a_label_has_no_loss(tmp_path: Path) -> None:
    rows = 600
    clicks, users = [i % 2 for i in range(rows)], [i % 90 for i in range(rows)]
    for part, likes in (("train", [None] * rows), ("valid", clicks)):
        columns = {"user_id": users, "is_click": clicks, "is_like": pa.array(likes, pa.int64())}
        pq.write_table(pa.table(columns), tmp_path / f"{part}.parquet")
    spec, settings = homespec.loads(TINY), Settings(batch_size=128, compile=False)
    result = train(spec, tmp_path, tmp_path / "out", settings)
    assert math.isnan(result.tasks["like"].loss_last)
    assert result.tasks["click"].loss_last > 0
    lines = report.summary(result, tmp_path)
    assert lines[0] == "like: no row of the 4 steps had a label."


@pytest.mark.parametrize("flag", ["--lr", "--clip", "--table-lr", "--weight-decay"])
@pytest.mark.parametrize("number", ["nan", "inf", "1e39", "-1"])
def test_flags_take_numbers_that_float32_holds(flag: str, number: str, tmp_path: Path) -> None:
    spec = tmp_path / "tiny.yaml"
    spec.write_text(TINY)
    ran = CliRunner().invoke(cli, ["train", str(spec), "--data", "x", flag, number])
    assert ran.exit_code == 2
    problem = "a finite number" if number == "nan" else "in the range "
    assert f"{float(number)} is not {problem}" in ran.stderr


@pytest.mark.parametrize("name", ["lr", "table_lr", "clip"])
@pytest.mark.parametrize("number", [1e-46, 0, -1, 1e39, math.inf, math.nan])
def test_settings_are_numbers_that_float32_holds(name: str, number: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is .*, not in the range 1e-"):
        Settings(**{name: number})  # type: ignore[arg-type]


def test_results_are_written_together(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(batch_size=256, compile=False, limit_rows=512)
    with monkeypatch.context() as patched:
        patched.setattr(result, "as_json", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(small, data, tmp_path, settings)
    assert {p.name for p in tmp_path.iterdir()} - {"tensorboard"} == {
        "checkpoints", "losses.csv", "settings.json", "spec.yaml",
    }  # fmt: skip


def test_tensorboard(trained: Any) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result, _, out = trained
    found = events.EventAccumulator(str(out / "tensorboard")).Reload()
    (auc,) = found.Scalars("auc/click")
    assert (auc.step, auc.value) == (37, pytest.approx(result.tasks["click"].auc))
    assert [event.step for event in found.Scalars("loss/like")] == [37]


def test_table(trained: Any, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, _, out = trained
    report.show(result, out, [data])
    printed = capsys.readouterr().out
    assert "best AUC" in printed
    assert "the last tenth of the steps" in printed
    assert f"{result.tasks['click'].auc:.4f}" in printed
    assert "rows/s" in printed
    unknown = {
        name: dataclasses.replace(task, auc=math.nan, bayes_auc=math.nan)
        for name, task in result.tasks.items()
    }
    report.show(Result(**vars(result) | {"tasks": unknown}), out, [data])
    printed = capsys.readouterr().out
    assert "best AUC" not in printed
    assert "–" in printed


def test_a_task_without_positives_or_bayes(small: LoadedSpec, data: Path, tmp_path: Path) -> None:
    for split in ("train", "valid"):
        rows = pq.read_table(data / f"{split}.parquet").slice(0, 600)
        position = rows.column_names.index("is_like")
        none = rows["user_id"].combine_chunks().is_null()  # all false
        pq.write_table(rows.set_column(position, "is_like", none), tmp_path / f"{split}.parquet")
    result = train(small, tmp_path, tmp_path, Settings(batch_size=256, compile=False), print)
    assert math.isnan(result.tasks["like"].auc)
    assert json.loads((tmp_path / "metrics.json").read_text())["tasks"]["like"]["auc"] is None


def homespec_train(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of `homespec train ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["homespec", "train", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(str(stopped.value.code))


def test_command_line(
    small_file: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(small_file.parent)
    options = ("--no-compile", "--batch-size", 256)
    assert homespec_train(monkeypatch, small_file, "--data", data, *options) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "epoch 1/1  step 37/37" in out
    assert "model.safetensors, metrics.json, losses.csv are in runs/small" in out
    assert Path("runs/small/model.safetensors").is_file()


def test_the_command_line_counts_warnings(
    small_file: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In one line, with the command that shows them."""
    monkeypatch.chdir(small_file.parent)
    text = small_file.read_text().replace("interaction: [like, comment_stay]", "i: [like]")
    text = text.replace("groups:", "groups:\n  o: [comment_stay]")
    small_file.write_text(text)
    given = ("small.yaml", "--data", data, "--limit-rows", 300, "--batch-size", 128, "--no-compile")
    for more in ((), ("--set", "features.tab.dim=9")):
        assert homespec_train(monkeypatch, *given, *more, "--overwrite") == 0
        (line,) = [x for x in capfd.readouterr().out.splitlines() if "warning" in x]
        count, _, command = line.partition(" warnings about the spec: ")
        monkeypatch.setattr(sys, "argv", command.split())
        with pytest.raises(SystemExit):
            main()
        assert capfd.readouterr().out.count("warning[") == int(count) > 1
    assert command == "homespec validate small.yaml --set=features.tab.dim=9"


def test_command_line_resumes(
    small_file: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Settings are those that the run was started with, unless a flag gives others."""
    monkeypatch.chdir(small_file.parent)
    given = (small_file, "--data", data, "--out", "r")
    first = ("--batch-size", 128, "--limit-rows", 400, "--lr", "0.01", "--no-compile")
    assert homespec_train(monkeypatch, *given, *first) == 0
    assert homespec_train(monkeypatch, *given) == 2
    assert (
        "r holds a run, at step 3, after epoch 1 of 1: --resume continues" in capfd.readouterr().err
    )
    assert homespec_train(monkeypatch, *given, "--resume", "--epochs", 2) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "resumed with --epochs 2 instead of --epochs 1\n" in out
    assert "resumed at step 3, after epoch 1 of 1\n" in out
    assert "epoch 2/2  step 3/3" in out
    assert "Epoch 2 of 2 is the best" in out or "Epoch 1 of 2 is the best" in out
    assert homespec_train(monkeypatch, *given, "--resume", "--batch-size", 64) == 2
    assert "started with --batch-size 128, not --batch-size 64: resume" in capfd.readouterr().err
    assert homespec_train(monkeypatch, *given, "--resume", "--overwrite") == 2
    assert "give only one" in capfd.readouterr().err
    written = json.loads(Path("r/settings.json").read_text())
    assert written["settings"]["lr"] == 0.01
    assert written["settings"]["epochs"] == 2


def test_help_is_in_groups(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert homespec_train(monkeypatch, "--help") == 0
    printed = capfd.readouterr().out
    headings = [line for line in printed.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == ["Model:", "Data:", "Start:", "Learning:", "Machine:", "Run:"]
    assert printed.index(" --data ") < printed.index(" --lr ") < printed.index(" --resume ")


def test_choices_of_the_command_line_are_all_that_there_are(small_file: Path) -> None:
    """They are spelled out in the settings, since the command line imports no torch."""
    assert FLAGS["weighting"].choices == weighting.METHODS
    assert set(FLAGS["schedule"].choices) == {*optimizers.SHAPES, optimizers.EXPONENTIAL}
    assert set(FLAGS["precision"].choices) == set(trainer.PRECISIONS)


def test_each_setting_is_one_flag(small_file: Path) -> None:
    """With its default, its choices and limits; what is no setting is where a run has its files."""
    command = cli_train.train
    names = [parameter.name for parameter in command.params]
    assert len(names) == len(set(names))
    assert set(names) - FLAGS.keys() == {
        "spec", "overrides", "data", "valid", "out", "resume", "overwrite",
    }  # fmt: skip
    params = command.make_context("train", [str(small_file), "--data", "d"]).params
    assert Settings(**{name: params[name] for name in FLAGS}) == Settings()
    for name, known in FLAGS.items():
        (option,) = (p for p in command.params if p.name == name)
        assert tuple(getattr(option.type, "choices", ())) == known.choices
        assert getattr(option.type, "min", None) == known.least
        assert getattr(option.type, "max", None) == known.most
    for path in ("homespec/cli/train.py", "homespec/train/run.py", "homespec/train/trainer.py"):
        text = Path(path).read_text()
        assert not [name for name in FLAGS if f'"--{name.replace("_", "-")}"' in text], path


def test_command_line_says_what_is_wrong(
    small_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert homespec_train(monkeypatch, small_file, "--data", tmp_path / "no") == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(
        f"error: {tmp_path}/no does not exist; give files, or a folder with train.parquet"
    )
    assert err.count("\n") == 1
    small_file.write_text(small_file.read_text().replace("is_like", "is like"))
    assert homespec_train(monkeypatch, small_file, "--data", tmp_path) == 1
    assert "error[HS" in capfd.readouterr().err


def test_compiling_is_decided_by_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CXX", "no-such-compiler")
    compiles, why = decide(None)
    assert not compiles
    assert (
        "the C++ compiler `no-such-compiler` was not found: install it, or name yours in CXX" in why
    )
    assert decide(True)[0]
    assert not decide(False)[0]
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setattr(torch_compile.sysconfig, "get_path", lambda _: "/nowhere")
    assert "Python.h is missing: install Python's headers" in decide(None)[1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert decide(None)[0]


TINY = """\
homespec: 1
name: tiny
features: {user_id: {id: {buckets: 100}, dim: 8}}
groups: {g: [click, like]}
tasks: {click: {label: is_click}, like: {label: is_like}}
experts: {width: 8, meta: {shared: 1, group: 1}, task: {shared: 1, group: 0, task: 1}}
gates: {feature: false, self: false}
"""


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))
@pytest.mark.parametrize(("precision", "close"), [("float32", 1e-3), ("bf16", 1e-2)])
def test_compiled_training_is_eager_training(
    data: Path, tmp_path: Path, precision: str, close: float
) -> None:
    """In one compilation, though the rows do not fill the last batch of an epoch."""
    tiny = homespec.loads(TINY)
    losses = []
    for compiled in (False, True):
        settings = Settings(
            epochs=2, batch_size=256, compile=compiled, limit_rows=1100, precision=precision
        )
        result = train(tiny, data, tmp_path, settings, print)
        assert (result.compiled, result.compilations) == (compiled, int(compiled))
        losses.append([task.loss_last for task in result.tasks.values()])
    assert losses[0] == pytest.approx(losses[1], rel=close)
