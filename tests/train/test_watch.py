"""Experts watched in training: the doctor's numbers, in each epoch once, and signs at the end."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import lightning.pytorch as lightning
import pytest
import torch
from click.testing import CliRunner
from small_spec import SMALL
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import homespec
from homespec import RankingData, RankingModule
from homespec.activations.twin import Twin
from homespec.api import LoadedSpec
from homespec.cli.main import cli
from homespec.doctor.examine import Options, examine
from homespec.doctor.held_out import HeldOut
from homespec.health.epoch import OF_EXPERTS
from homespec.health.measures import Health, short
from homespec.train import run
from homespec.train import watch as watch_file
from homespec.train.settings import Settings
from homespec.train.watch import WatchExperts

ROWS = 600
WATCHED = Settings(
    epochs=2, batch_size=128, lr=1e-2, limit_rows=ROWS, compile=False, watch_experts=True,
    schedule="constant",
)  # fmt: skip
"""Four steps an epoch, and a last batch of held-out rows that is filled up."""


def train(spec: LoadedSpec, data: Path, out: Path, settings: Settings, **place: Any) -> Any:
    return run.train(spec, run.Place([data], out, **place), settings)


def healths(out: Path) -> list[Any]:
    """What metrics.json has of each epoch."""
    return [e["health"] for e in json.loads((out / "metrics.json").read_text())["history"]]


def events(out: Path) -> EventAccumulator:
    return EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0}).Reload()


@pytest.fixture(scope="module")
def watched(small: LoadedSpec, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("watched")
    train(small, data, out, WATCHED)
    return out


def by_doctor(out: Path, spec: LoadedSpec, data: Path) -> Health:
    """What the doctor finds in the last epoch's weights, on the same rows."""
    last = homespec.load_run(out, checkpoint="last", optimize=False)
    return examine(last, HeldOut.open(spec, [data], ROWS), Options(sample_rows=0))


def assert_same(found: Any, expected: Health) -> None:
    assert found["rows"] == expected.rows == ROWS
    for expert in expected.experts:
        for name in OF_EXPERTS:
            of_doctor = getattr(expert, name)
            assert found["experts"][short(expert.name)][name] == pytest.approx(of_doctor, rel=1e-4)
    assert len(found["experts"]) == len(expected.experts)
    for gate in expected.gates:
        own = found["gates"][short(gate.name)]
        assert list(own["weights"].values()) == pytest.approx(gate.mean, rel=1e-4)
        assert own["perplexity"] == pytest.approx(gate.perplexity, rel=1e-4)
        assert own["std"] == pytest.approx(math.sqrt(gate.variance_rows), rel=1e-3)
    for gate in expected.gates:
        source = next((s for s in gate.sources if s.owner == gate.owner == "like"), None)
        if source:
            own = found["tasks"]["like"]
            assert own["own_weight"] == pytest.approx(source.weight / source.fair, rel=1e-4)


def test_the_numbers_are_the_doctors(watched: Path, small: LoadedSpec, data: Path) -> None:
    _, last = healths(watched)
    assert_same(last, by_doctor(watched, small, data))


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bf16", "optimize": False},
        {"table_optimizer": "adagrad", "merge_tables": True, "weighting": "uncertainty"},
    ],
)
def test_so_they_are_however_it_trains(
    small: LoadedSpec, data: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    train(small, data, tmp_path, dataclasses.replace(WATCHED, epochs=1, **settings))
    (found,) = healths(tmp_path)
    assert_same(found, by_doctor(tmp_path, small, data))


def test_training_stays_what_it_is_without(
    watched: Path, small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_own", lambda *_: iter(()))
    train(small, data, tmp_path, WATCHED)
    weights = [(out / "model.safetensors").read_bytes() for out in (watched, tmp_path)]
    assert weights[0] == weights[1]
    assert "health" not in json.loads((tmp_path / "metrics.json").read_text())["history"][0]


# ---------------------------------------------------------------- TensorBoard


def test_tensorboard_has_them_once_an_epoch(watched: Path) -> None:
    board, found = events(watched), healths(watched)
    for tag, part, name, measure in (
        ("expert_mean_abs/meta.watch.0", "experts", "meta.watch.0", "mean_abs"),
        ("gate_perplexity/task.click", "gates", "task.click", "perplexity"),
        ("own_contribution/like", "tasks", "like", "own_contribution"),
    ):
        points = [(event.step, pytest.approx(event.value)) for event in board.Scalars(tag)]
        expected = [each[part][name][measure] for each in found]
        assert points == list(zip((4, 8), expected, strict=True))
    (first, _) = board.Scalars("gate_weight/task.click/task.click.0")
    assert first.value == pytest.approx(found[0]["gates"]["task.click"]["weights"]["task.click.0"])


def test_tensorboard_has_the_hyperparameters(watched: Path) -> None:
    board = events(watched)
    about = {
        tag.rpartition("/")[2]: HParamsPluginData.FromString(data.plugin_data.content)
        for tag, data in board.summary_metadata.items()
        if tag.startswith("_hparams_")
    }
    flags = about["session_start_info"].session_start_info.hparams
    assert flags["batch_size"].number_value == 128
    assert flags["spec.gates.self.enabled"].number_value == 1
    assert flags["spec.experts.norm"].string_value == "batch"
    metrics = [info.name.tag for info in about["experiment"].experiment.metric_infos]
    written = json.loads((watched / "metrics.json").read_text())
    for metric in ("auc/click", "logloss/like"):
        assert f"best/{metric}" in metrics
        name, _, task = metric.partition("/")
        (value,) = board.Scalars(f"best/{metric}")
        assert value.value == pytest.approx(written["tasks"][task][name])


def test_without_the_flag_only_signs_are_kept(
    small: LoadedSpec, data: Path, tmp_path: Path
) -> None:
    train(small, data, tmp_path, dataclasses.replace(WATCHED, watch_experts=False, epochs=1))
    assert healths(tmp_path) == [{"rows": ROWS, "signs": []}]
    scalars = events(tmp_path).Tags()["scalars"]
    assert {"lr", "gradient_norm", "best/auc/click"} <= set(scalars)
    assert not [tag for tag in scalars if tag.startswith(("expert", "gate_", "own_"))]


def test_a_resumed_run_has_all_epochs_once(
    watched: Path, small: LoadedSpec, data: Path, tmp_path: Path
) -> None:
    once = dataclasses.replace(WATCHED, epochs=1)
    train(small, data, tmp_path, once)
    train(small, data, tmp_path, WATCHED, resume=True)
    assert healths(tmp_path) == healths(watched)
    steps = [event.step for event in events(tmp_path).Scalars("expert_zeros/meta.watch.0")]
    assert steps == [4, 8]


# ---------------------------------------------------------------- signs


def command(tmp_path: Path, data: Path, *more: str, spec: str = SMALL) -> str:
    """What `homespec train` prints."""
    (tmp_path / "small.yaml").write_text(spec)
    words = [str(tmp_path / "small.yaml"), "--data", str(data), "--out", str(tmp_path / "out")]
    flags = ["--batch-size", "256", "--no-compile", "--overwrite"]
    result = CliRunner().invoke(cli, ["train", *words, *flags, *more])
    assert result.exit_code == 0, result.output
    return result.output


DYING = ("--set", "experts.norm=none", "--set", "experts.activation=relu", "--lr", "3",
         "--schedule", "constant")  # fmt: skip
"""Steps so large that ReLU experts end below 0 on all rows."""


def test_a_healthy_run_ends_without_signs(data: Path, tmp_path: Path) -> None:
    printed = command(tmp_path, data, "--lr", "1e-2", "--watch-experts")
    *_, files, last = printed.strip().splitlines()
    assert files.startswith("model.safetensors")
    assert last.startswith("Experts on 1,024 held-out rows: ")
    assert "own experts" in last


def test_a_collapse_is_said_at_the_end(data: Path, tmp_path: Path) -> None:
    printed = command(tmp_path, data, *DYING)
    *_, files, first, second, how = printed.strip().splitlines()
    assert files.startswith("model.safetensors")
    near_zero = r"Expert \S+ has (9\d|100)\.\d% of its outputs near 0, and \d+ more are like it\."
    assert re.fullmatch(near_zero, first)
    assert "contributes only" in second
    doctor = f"homespec doctor {tmp_path / 'out'} --data {data}"
    assert how == f"To measure whether a task gets worse by that: {doctor}"
    (kept,) = healths(tmp_path / "out")
    assert kept["signs"][:2] == [first, second]


def test_what_the_spec_ignores_is_not_said(data: Path, tmp_path: Path) -> None:
    ignoring = "# homespec: ignore-file[collapsed-expert, ignored-own-experts] it is a test\n"
    printed = command(tmp_path, data, *DYING, spec=ignoring + SMALL)
    assert "near 0" not in printed
    assert "contributes only" not in printed


# ---------------------------------------------------------------- where nothing can be measured


@pytest.mark.parametrize("part", ["take", "health"])
def test_a_failure_to_measure_costs_a_line_and_not_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("too little memory\nand more lines")

    monkeypatch.setattr(Twin, part, fail)
    printed = command(tmp_path, data, "--watch-experts", "--epochs", "2")
    *_, files, last = printed.strip().splitlines()
    assert files.startswith("model.safetensors")
    why = "RuntimeError: too little memory"
    assert last == f"Experts and gates were not measured: {why}"
    assert healths(tmp_path / "out") == [{"error": why}] * 2


def test_after_a_failure_the_next_epoch_is_measured(
    watched: Path, small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = Twin.health, 0

    def once(self: Twin, x_BV: torch.Tensor) -> Health:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError
        return original(self, x_BV)

    monkeypatch.setattr(Twin, "health", once)
    train(small, data, tmp_path, WATCHED)
    assert healths(tmp_path) == [{"error": "RuntimeError"}, healths(watched)[1]]


def test_many_batches_keep_no_more_rows_than_are_looked_at(small: LoadedSpec) -> None:
    watch = WatchExperts(small)
    trainer: Any = SimpleNamespace(sanity_checking=False, num_val_batches=[3 * watch_file.ROWS])
    batch: Any = SimpleNamespace(labels={"click": torch.zeros(4)})
    for _ in range(3 * watch_file.ROWS):
        watch._see(None, (torch.zeros(4, 2),))
        watch.on_validation_batch_end(trainer, None, None, batch, 0)
    assert [len(rows) for rows in watch._rows] == [1] * watch_file.ROWS


# ---------------------------------------------------------------- a Trainer of one's own


class Norms(lightning.Callback):
    """The norm of all gradients of each step, by hand."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        grads = [p.grad.double() for p in pl_module.model.parameters() if p.grad is not None]
        self.norms.append(math.sqrt(sum(float(grad.square().sum()) for grad in grads)))


class Kept(lightning.loggers.CSVLogger):
    """Keeps what it gets by step."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.kept: dict[str, dict[int, float]] = {}

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        assert step is not None
        for name, value in metrics.items():
            self.kept.setdefault(name, {})[step] = value


@pytest.mark.parametrize("clip", [None, 0.05])
def test_gradient_norm_and_learning_rate(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    clip: float | None,
) -> None:  # fmt: skip
    settings = Settings(
        batch_size=128,
        lr=1e-2,
        warmup_steps=10,
        schedule="constant",
        clip=clip,
        limit_rows=1000,
        compile=False,
    )
    norms, logger = Norms(), Kept(tmp_path)
    module = RankingModule(small, settings)
    measured = mock.Mock(wraps=module.train_step.gradient_norm)
    monkeypatch.setattr(module.train_step, "gradient_norm", measured)
    with warnings.catch_warnings():
        for words in (".*number of training batches", ".*LeafSpec"):
            warnings.filterwarnings("ignore", words)
        lightning.Trainer(
            max_epochs=1, logger=logger, log_every_n_steps=3, accelerator="cpu",
            callbacks=[norms, WatchExperts(small)], enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
        ).fit(module, datamodule=RankingData(small, data, settings=settings))  # fmt: skip
    found = logger.kept["gradient_norm"]
    assert list(found) == [3, 6, 7]  # every third step, and the last one of the epoch
    for step, norm in found.items():
        assert norm == pytest.approx(norms.norms[step - 1], rel=1e-5)
    rates = {step: pytest.approx(1e-2 * step / 10) for step in found}
    assert logger.kept["lr"] == rates
    assert measured.call_count == (len(found) if clip is None else len(norms.norms))
    assert module.health is not None
    assert logger.kept["expert_zeros/meta.watch.0"] == {
        7: module.health["experts"]["meta.watch.0"]["zeros"]
    }
