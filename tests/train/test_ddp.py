"""Two processes under torchrun train as one does, and fail as one does."""

from __future__ import annotations

import csv
import dataclasses
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import ddp_steps
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from ddp_steps import LEARNING, SETTINGS, SPEC, spec, spec_for
from torch import Tensor

import homespec
from homespec.runtime import observed
from homespec.train import RunError, checkpoint, run
from homespec.train.datamodule import Rows
from homespec.train.evaluate import Measures, Predictions
from homespec.train.torch_compile import obstacle

ROWS, BATCH = 830, SETTINGS.batch_size
STEPS = ROWS // BATCH
HALF = BATCH // 2


def columns(seed: int, rows: int) -> dict[str, Any]:
    """Labels that depend on the features; of `rare` most are missing, many more in one half."""
    draw = np.random.default_rng(seed)
    user, video = draw.integers(0, 40, (2, rows))
    age = draw.normal(size=(rows, 2)).astype(np.float32)
    chance = 1 / (1 + np.exp(-(np.sin(user) + np.cos(video) + age[:, 0])))
    labels = {task: draw.random(rows) < chance * 0.8 for task in ("click", "buy", "rare")}
    known = draw.random(rows) < np.where(np.arange(rows) < rows // 2, 0.1, 0.5)
    return {
        "user": user,
        "video": video,
        "age": list(age),
        "click": labels["click"].astype(float),
        "buy": (labels["buy"] & labels["click"]).astype(float),
        "eight": np.arange(rows) // 8,
        "trust": draw.random(rows) * (np.arange(rows) % 3),
        "rare": [float(x) if k else None for x, k in zip(labels["rare"], known, strict=True)],
    }


def write(folder: Path, order: Any = None) -> Path:
    """Prepared data, the rows to train on in this order."""
    folder.mkdir()
    train = pa.table(columns(0, ROWS))
    pq.write_table(
        train if order is None else train.take(pa.array(order)), folder / "train.parquet"
    )
    pq.write_table(pa.table(columns(1, 500)), folder / "valid.parquet")
    return folder


def torchrun(*command: object) -> tuple[int, str, str]:
    """Exit code, what the processes printed, and what they and torchrun complained of."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*start, "--master-port", str(port), ddp_steps.__file__, *map(str, command)],
        capture_output=True, text=True,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data as two processes are dealt it, and in the order for one that gives it
    the same batches; and with the runs of two processes.
    """
    folder = tmp_path_factory.mktemp("ddp")
    write(folder / "dealt")
    first = np.arange(STEPS * HALF).reshape(STEPS, HALF)
    write(folder / "ordered", np.concatenate([first, first + STEPS * HALF], 1).ravel())
    assert torchrun("runs", folder)[0] == 0
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    """What the two processes said and were refused."""
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def state_of(out: Path) -> dict[str, Tensor]:
    last = out / "checkpoints" / "last"
    return {
        f"{name}/{key}": value.float()
        for name in ("model", "optimizer")
        for key, value in safetensors.torch.load_file(last / f"{name}.safetensors").items()
    }


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor], **tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if "random/" not in name:
            torch.testing.assert_close(value, other[name], **tolerance, msg=_about(name))


def _about(name: str) -> Any:
    return lambda message: f"{name}: {message}"


# ---------------------------------------------------------------- the same as one


@pytest.mark.parametrize("how", LEARNING)
def test_two_learn_what_one_learns(folder: Path, tmp_path: Path, how: str) -> None:
    """Weights, moments, the losses of all steps and what weightings have learned."""
    if how == "pcgrad":
        pytest.importorskip("torchjd")
    settings = dataclasses.replace(SETTINGS, **LEARNING[how])
    run.train(spec_for(how), run.Place([folder / "ordered"], tmp_path), settings, print)
    assert_close(state_of(folder / how), state_of(tmp_path), rtol=1e-3, atol=1e-5)
    two, one = (
        np.loadtxt(p / "losses.csv", delimiter=",", skiprows=1) for p in (folder / how, tmp_path)
    )
    assert two.shape == (2 * STEPS, 1 + 3 + 3)  # the step, and of each task its loss and its rows
    np.testing.assert_allclose(two, one, rtol=1e-4)


def test_metrics_are_those_of_all_rows(folder: Path) -> None:
    """Exactly: the same model, measured in one process."""
    loaded = spec("none")
    code, model = homespec.build_module(loaded), homespec.build(loaded)
    best = safetensors.torch.load_file(folder / "fixed" / "model.safetensors")
    code.load_logical_state(model, best)
    settings = dataclasses.replace(SETTINGS, batch_size=HALF)
    predictions = Predictions(code.TASKS, observed(code))
    with torch.no_grad():
        for batch in Rows.open(loaded, [folder / "dealt"], [], settings).validation():
            predictions.add(batch, model.eval()(batch.features))
    wanted = Measures.of(loaded).measured(code.TASKS, predictions.take())
    told = json.loads((folder / "fixed" / "metrics.json").read_text())
    assert told["rows_valid"] == 500
    for task, measured in wanted.items():
        assert {k: told["tasks"][task][k] for k in measured} == measured
        assert {"auc", "gauc", "logloss", "pcoc", "rate"} == measured.keys()


def test_experts_are_watched_on_the_rows_of_the_first(folder: Path) -> None:
    of_run = {}
    for name in ("pcgrad", "resumed"):
        told = json.loads((folder / name / "metrics.json").read_text())
        of_run[name] = [epoch["health"] for epoch in told["history"]]
    assert of_run["resumed"] == of_run["pcgrad"]
    for health in of_run["pcgrad"]:
        assert health["rows"] == 8 * HALF  # of 500, dealt in batches
        assert len(health["experts"]) == 2


def test_one_process_tells(found: list[dict[str, Any]]) -> None:
    said = found[0]["fixed said"]
    assert said[0].endswith(f"do not fill a batch of {BATCH}, dealt to 2 processes")
    assert f"leaves out {ROWS % BATCH} rows" in said[0]
    assert not any(found[1][f"{name} said"] for name in LEARNING)


# ---------------------------------------------------------------- batch norm


def test_batch_norm_is_of_each_processs_rows(folder: Path) -> None:
    """After one step: gradients of two halves, each normalised by itself; running statistics are
    the mean of theirs.
    """
    loaded = spec("batch")
    settings = dataclasses.replace(SETTINGS, batch_size=HALF, limit_rows=BATCH)
    code = homespec.build_module(loaded)
    losses, buffers, models = [], [], []
    for batch in Rows.open(loaded, [folder / "dealt"], [], settings).training(0):
        torch.manual_seed(SETTINGS.seed)
        model = homespec.build(loaded).train()
        labels = code.observed(batch.labels)
        own = code.losses(model(batch.features), batch.labels)
        counts = {task: (~label.isnan()).sum() for task, label in labels.items()}
        losses.append({task: own[task] * counts[task] for task in own})
        buffers.append(counts)
        models.append(model)
    total = {task: sum(c[task] for c in buffers) for task in code.TASKS}
    sum(own[task] / total[task] for own in losses for task in own).backward()
    stored = state_of(folder / "first step")
    grads = [code.logical_views(m, {n: p.grad for n, p in m.named_parameters()}) for m in models]
    for name in grads[0]:
        gradient = grads[0][name] + grads[1][name]
        torch.testing.assert_close(stored[f"optimizer/exp_avg/{name}"], 0.1 * gradient)
    states = [code.logical_state(model) for model in models]
    running = [name for name in states[0] if "running" in name]
    assert running
    for name in running:
        one, other = states[0][name], states[1][name]
        assert not torch.allclose(one, other)
        torch.testing.assert_close(stored[f"model/{name}"], (one + other) / 2)


# ---------------------------------------------------------------- refusals


def test_refusals_are_told_once(found: list[dict[str, Any]], folder: Path) -> None:
    one, other = found
    wanted = {
        "first step": "holds a run, at step 1, after epoch 1 of 1: --resume continues it",
        "odd": "--batch-size 65 is the total over all 2 processes and cannot be divided among "
        "them: give a multiple of 2 of at least 4, such as 64",
        "few": "--batch-size 2 is the total over all 2 processes",
        "nan": "the loss of rare is not finite from epoch 1, batch 4 (step 4) on: ",
    }
    for name, message in wanted.items():
        assert one[name][0] == "RunError"
        assert message in one[name][1]
        assert other[name][0] == "ElsewhereError"
    assert one["seeds"][0] == "ElsewhereError"
    assert other["seeds"] == ["RunError", other["seeds"][1]]
    said = "process 1 has different settings or a different spec from process 0"
    assert said in other["seeds"][1]
    assert not (folder / "seeds").exists()


def test_connections_are_closed_behind_an_error_of_all(folder: Path) -> None:
    """The last run of both processes was refused. A thread of gloo that still holds a tensor when
    Python ends would abort it, once in a hundred times.
    """
    assert [(folder / f"{rank}.joined").read_text() for rank in (0, 1)] == ["False", "False"]


def test_the_rows_of_a_bad_batch_are_of_the_process_that_met_it(folder: Path) -> None:
    with (folder / "nan" / "bad_batch.csv").open() as file:
        listed = [int(row["row"]) for row in csv.DictReader(file)]
    start = STEPS * HALF + 3 * HALF
    assert listed == list(range(start, start + HALF))


# ---------------------------------------------------------------- faults


@pytest.fixture
def command(folder: Path, tmp_path: Path) -> list[str]:
    """The command whose run is the one in FOLDER/batch."""
    path = tmp_path / "tiny.yaml"
    path.write_text(SPEC.replace("NORM", "batch"))
    flags = (
        "--epochs 2 --batch-size 64 --lr 0.01 --schedule constant --shuffle-rows 0"
        " --checkpoint-every 5 --no-compile --watch-experts"
    )
    place = ["--data", str(folder / "dealt"), "--out", str(tmp_path / "run"), "--gauc-by", "user"]
    return ["train", str(path), *place, *flags.split()]


def assert_same_run(out: Path, other: Path) -> None:
    for file in ("model.safetensors", "losses.csv", "checkpoints/last/optimizer.safetensors"):
        assert (out / file).read_bytes() == (other / file).read_bytes(), file
    one, two = (json.loads((p / "metrics.json").read_text()) for p in (out, other))
    assert [one[key] for key in ("tasks", "history")] == [two[key] for key in ("tasks", "history")]


def test_random_numbers_go_on(folder: Path) -> None:
    """Those of pcgrad, which DDP's start would seed anew."""
    pytest.importorskip("torchjd")
    assert_same_run(folder / "resumed", folder / "pcgrad")


def test_killed_and_resumed(folder: Path, tmp_path: Path, command: list[str]) -> None:
    """One of the processes is killed, and the run goes on to the same end; on another number of
    processes it does not in the midst of an epoch, and does behind one.
    """
    out = tmp_path / "run"
    code, _, err = torchrun("killed", *command)
    assert code != 0
    assert f"Signal {signal.SIGKILL.value}" in err
    assert checkpoint.read_state(out / "checkpoints" / "last")["at"]["step"] == 5
    place = run.Place([folder / "dealt"], out, resume=True)
    with pytest.raises(
        RunError, match="in the middle of an epoch that was dealt to 2 processes, no"
    ):
        run.train(spec("batch"), place, SETTINGS, print)
    code, said, _ = torchrun("never", *command, "--resume")
    assert code == 0
    assert said.count("resumed at step 5, in epoch 1 of 2") == 1
    assert said.count("model.safetensors, metrics.json") == 1
    assert_same_run(out, folder / "batch")
    lines: list[str] = []
    more = dataclasses.replace(SETTINGS, epochs=3)
    assert len(run.train(spec("batch"), place, more, lines.append).history.epochs) == 3
    assert "resumed on 1 process in place of 2" in lines


def test_an_error_of_one_ends_all(tmp_path: Path, command: list[str]) -> None:
    code, _, err = torchrun("broken", *command)
    assert code != 0
    (told,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert told == (
        "error: train.parquet is broken. The checkpoint at step 5, in epoch 1 of 2 is intact:"
        " --resume continues from it"
    )
    before_torchrun, _, _ = err.partition("torch/distributed/elastic")
    assert "Traceback" not in before_torchrun
    assert checkpoint.read_state(tmp_path / "run" / "checkpoints" / "last")["at"]["step"] == 5


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))
def test_the_compiled_step_is_one_graph(
    tmp_path: Path, command: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    code, said, _ = torchrun("never", *command, "--compile")
    assert code == 0
    assert said.count("the training step was compiled once") == 1
    assert_close(state_of(tmp_path / "run"), state_of(folder / "batch"), rtol=1e-2, atol=1e-3)
