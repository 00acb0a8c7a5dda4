"""A Trainer of the user's own, with loggers, callbacks and strategies, beside `homespec train`."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger
from safetensors.torch import load_file
from small_spec import SMALL
from torch import Tensor

import homespec
from homespec import RankingData, RankingModule
from homespec.api import LoadedSpec
from homespec.installation import install_command
from homespec.train import RunError, run
from homespec.train.settings import Settings

SETTINGS = Settings(
    batch_size=128, lr=1e-2, warmup_steps=9, clip=5.0, limit_rows=1500, compile=False,
    gauc_by="user_id", epochs=2,
)  # fmt: skip
"""Eleven steps an epoch."""
PARTS: dict[str, Any] = {
    "lr_of": ("features.*=0.5x", "experts.*.watch.*=1e-3", "features.tag.*=0.1x"),
    "l2": ("*=1e-4",),
}


@pytest.fixture(autouse=True)
def known_warnings() -> Iterator[None]:
    """What Lightning says of every short run on a machine like this."""
    with warnings.catch_warnings():
        for words in (".*number of training batches", ".*LeafSpec", ".*is not empty"):
            warnings.filterwarnings("ignore", words)
        yield


class Kept(Logger):
    """A logger that keeps what it gets, as MLflow's and W&B's send it."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[tuple[int | None, dict[str, float]]] = []

    @property
    def name(self) -> str:
        return "kept"

    @property
    def version(self) -> str:
        return "0"

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """None are logged here."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append((step, dict(metrics)))

    def steps_of(self, name: str) -> list[int | None]:
        return [step for step, metrics in self.metrics if name in metrics]


class Losses(lightning.Callback):
    """Keeps the loss of each batch."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *args: Any) -> None:
        self.values.append(float(outputs["loss"]))


def trainer(out: Path, *callbacks: lightning.Callback, **options: Any) -> lightning.Trainer:
    wanted: dict[str, Any] = {"max_epochs": 2, "logger": False, "accelerator": "cpu", "devices": 1}
    return lightning.Trainer(
        default_root_dir=out, callbacks=list(callbacks), enable_progress_bar=False,
        enable_model_summary=False, **wanted | options,
    )  # fmt: skip


def parts(spec: LoadedSpec, data: Path, **changed: Any) -> tuple[RankingModule, RankingData]:
    settings = dataclasses.replace(SETTINGS, **changed)
    return RankingModule(spec, settings), RankingData(spec, data, settings=settings)


def weights(module: RankingModule) -> dict[str, Tensor]:
    state: dict[str, Tensor] = module.code.logical_state(module.model)
    return {name: value.clone() for name, value in state.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not one[name].equal(other[name])] == []


# ---------------------------------------------------------------- as `homespec train`


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"schedule": "cosine", "optimizer": "adamw", "weight_decay": 0.1},
        {"weighting": "pcgrad", "table_optimizer": "adagrad"},
        {"weighting": "gradnorm"},
        {"weighting": "uncertainty", "table_optimizer": "adagrad"},
        {"optimizer": "sgd", **PARTS, "schedule": "exponential", "half_life": 5.0},
        {"table_optimizer": "adagrad", **PARTS},
    ],
    ids=lambda changed: " ".join(map(str, changed.values())) or "default",
)
def test_it_learns_what_homespec_train_learns(
    small: LoadedSpec, data: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    """Weights and losses bit by bit; metrics, too."""
    theirs, logger = Losses(), Kept()
    settings = dataclasses.replace(SETTINGS, **changed)
    result = run.train(
        small, run.Place([data], tmp_path / "run"), settings, callbacks=[theirs], loggers=[logger]
    )
    ours = Losses()
    module, rows = parts(small, data, **changed)
    trainer(tmp_path, ours).fit(module, datamodule=rows)
    assert ours.values == theirs.values
    assert len(ours.values) == 22
    assert module.measured == result.history.epochs[-1]["tasks"]
    assert module.monitored == result.history.epochs[-1]["monitor"]
    assert logger.steps_of("monitor") == [11, 22]
    last = load_file(tmp_path / "run" / "checkpoints" / "last" / "model.safetensors")
    same(weights(module), last)


# ---------------------------------------------------------------- loggers and callbacks


def test_loggers_callbacks_and_validate(small: LoadedSpec, data: Path, tmp_path: Path) -> None:
    logger, table = Kept(), CSVLogger(tmp_path, name="csv")
    best = ModelCheckpoint(tmp_path / "kept", monitor="monitor", mode="max")
    module, rows = parts(small, data)
    own = trainer(tmp_path, best, logger=[logger, table], log_every_n_steps=4)
    own.fit(module, datamodule=rows)
    assert logger.steps_of("loss/click") == [4, 8, 11, 15, 19, 22]
    assert logger.steps_of("auc/click") == [11, 22]
    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        assert {"loss/click", "auc/click", "gauc/like", "monitor"} <= set(next(csv.reader(file)))
    measured = {**own.callback_metrics}
    assert float(measured["auc/click"]) == pytest.approx(module.measured["click"]["auc"])
    (validated,) = own.validate(module, datamodule=rows, verbose=False)
    assert validated["auc/click"] == pytest.approx(module.measured["click"]["auc"])
    assert float(best.best_model_score) == pytest.approx(validated["monitor"], abs=0.2)


def test_early_stopping(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a Trainer of one's own, and in the run of `homespec train`, whose patience is longer."""
    from homespec.train.evaluate import Monitor

    values = iter([0.5, 0.7, 0.6, 0.65] * 2)
    monkeypatch.setattr(Monitor, "value", lambda self, measured: next(values))
    module, rows = parts(small, data)
    stopping = EarlyStopping("monitor", mode="max", patience=2)
    trainer(tmp_path, stopping, max_epochs=9).fit(module, datamodule=rows)
    assert (module.position.epoch, module.position.step) == (4, 44)
    settings = dataclasses.replace(SETTINGS, epochs=9, patience=8)
    stopping = EarlyStopping("monitor", mode="max", patience=2)
    place = run.Place([data], tmp_path / "run")
    result = run.train(small, place, settings, callbacks=[stopping])
    assert len(result.history.epochs) == 4


def test_callbacks_of_lightning_in_a_run_of_homespec(
    small: LoadedSpec, data: Path, tmp_path: Path
) -> None:
    kept = ModelCheckpoint(tmp_path / "kept", monitor="auc/click", mode="max")
    place = run.Place([data], tmp_path / "run")
    result = run.train(small, place, SETTINGS, callbacks=[kept])
    best = max(entry["tasks"]["click"]["auc"] for entry in result.history.epochs)
    assert float(kept.best_model_score) == pytest.approx(best)
    assert Path(kept.best_model_path).is_file()


# ---------------------------------------------------------------- checkpoints


class Interrupt(lightning.Callback):
    """Ends a fit after some steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        if pl_module.position.step == self.step:
            raise RuntimeError("lost")


@pytest.mark.parametrize("step", [11, 14])
@pytest.mark.parametrize(
    "changed",
    [
        {"schedule": "linear"},
        {"weighting": "pcgrad", "table_optimizer": "adagrad"},
        {"optimizer": "adagrad", "table_optimizer": "adagrad", **PARTS},
    ],
    ids=["linear", "pcgrad", "parts"],
)
def test_a_fit_goes_on_from_lightnings_checkpoint(
    small: LoadedSpec, data: Path, tmp_path: Path, step: int, changed: dict[str, Any]
) -> None:
    """Inside an epoch and between two, with the same bits as a fit that nothing stopped."""
    whole, rows = parts(small, data, **changed)
    trainer(tmp_path).fit(whole, datamodule=rows)
    kept = ModelCheckpoint(tmp_path / "kept", every_n_train_steps=step, save_top_k=-1)
    stopped, rows = parts(small, data, **changed)
    with pytest.raises(RuntimeError, match="lost"):
        trainer(tmp_path, kept, Interrupt(step + 1)).fit(stopped, datamodule=rows)
    torch.manual_seed(99)
    resumed, rows = parts(small, data, **changed)
    path = kept.best_model_path
    kept = ModelCheckpoint(tmp_path / "kept", every_n_train_steps=step, save_top_k=-1)
    trainer(tmp_path, kept).fit(resumed, datamodule=rows, ckpt_path=path)
    assert resumed.position == whole.position
    same(weights(resumed), weights(whole))


def test_a_checkpoint_of_lightning_has_logical_names(
    small: LoadedSpec, data: Path, tmp_path: Path
) -> None:
    """It loads into code that batches otherwise: that of --no-optimize, and of tables apart."""
    module, rows = parts(small, data)
    own = trainer(tmp_path, max_epochs=1)
    own.fit(module, datamodule=rows)
    own.save_checkpoint(tmp_path / "own.ckpt")
    names = torch.load(tmp_path / "own.ckpt", weights_only=False)["state_dict"].keys()
    assert names == weights(module).keys()
    for changed in ({"optimize": False}, {"merge_tables": False}):
        settings = dataclasses.replace(SETTINGS, seed=5, **changed)
        loaded = RankingModule.load_from_checkpoint(
            tmp_path / "own.ckpt", spec=small, settings=settings
        )
        same(weights(loaded), weights(module))
        other, rows = parts(small, data, **changed)
        trainer(tmp_path, max_epochs=2).fit(other, datamodule=rows, ckpt_path=tmp_path / "own.ckpt")
        assert other.position.step == 22


# ---------------------------------------------------------------- options of the Trainer


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty", "gradnorm", "pcgrad", "cagrad"])
@pytest.mark.parametrize("table_optimizer", ["adam", "adagrad"])
def test_accumulated_batches_are_one(
    data: Path, tmp_path: Path, weighting: str, table_optimizer: str
) -> None:
    """The same rows twice, accumulated, are one step of them alone; penalties count once."""
    spec = homespec.loads(SMALL.replace("norm: batch", "norm: layer"))
    train = pq.read_table(data / "train.parquet").slice(0, 128)
    pq.write_table(pq.read_table(data / "valid.parquet"), tmp_path / "valid.parquet")
    found = []
    for times in (1, 2):
        pq.write_table(pa.concat_tables([train] * times), tmp_path / "train.parquet")
        module, rows = parts(
            spec, tmp_path, weighting=weighting, table_optimizer=table_optimizer,
            shuffle_rows=0, warmup_steps=0, lr=1e-3, clip=None, l2=("*=1e-2",),
        )  # fmt: skip
        trainer(tmp_path, max_epochs=1, accumulate_grad_batches=times).fit(module, datamodule=rows)
        assert module.position.step == times
        found.append(weights(module) | module.train_step.state())  # moments show the scale
    for name in found[0]:
        if "running" not in name and "batches" not in name:
            torch.testing.assert_close(found[1][name], found[0][name], rtol=1e-3, atol=1e-5)


def test_a_checkpoint_with_other_rates_is_refused(
    small: LoadedSpec, data: Path, tmp_path: Path
) -> None:
    """Lightning would go on with those of the checkpoint, for other weights."""
    module, rows = parts(small, data, lr_of=("towers.*=0.1x",))
    own = trainer(tmp_path, max_epochs=1)
    own.fit(module, datamodule=rows)
    own.save_checkpoint(tmp_path / "own.ckpt")
    for rules in ((), ("gates.*=0.2x",), ("features.*=2x",)):
        other, rows = parts(small, data, lr_of=rules)
        with pytest.raises(RunError, match="have other learning rates than those of the module"):
            trainer(tmp_path).fit(other, datamodule=rows, ckpt_path=tmp_path / "own.ckpt")


def test_the_trainers_clipping_counts(small: LoadedSpec, data: Path, tmp_path: Path) -> None:
    ways = {
        "settings": ({"clip": 0.01}, {}),
        "trainer": ({"clip": None}, {"gradient_clip_val": 0.01}),
        "value": ({"clip": None}, {"gradient_clip_val": 1e-4, "gradient_clip_algorithm": "value"}),
        "none": ({"clip": None}, {}),
    }
    found = {}
    for name, (changed, options) in ways.items():
        module, rows = parts(small, data, table_optimizer="adagrad", **changed)
        trainer(tmp_path, max_epochs=1, **options).fit(module, datamodule=rows)
        found[name] = weights(module)
    same(found["settings"], found["trainer"])
    for one, other in (("trainer", "none"), ("value", "none"), ("value", "trainer")):
        assert any(not found[one][n].equal(found[other][n]) for n in found[one])


def test_bfloat16(small: LoadedSpec, data: Path, tmp_path: Path) -> None:
    """As in a run of homespec, clipped."""
    theirs, ours = Losses(), Losses()
    settings = dataclasses.replace(SETTINGS, precision="bf16", epochs=1)
    run.train(small, run.Place([data], tmp_path / "run"), settings, callbacks=[theirs])
    module, rows = parts(small, data)
    trainer(tmp_path, ours, precision="bf16-mixed", max_epochs=1).fit(module, datamodule=rows)
    assert ours.values == theirs.values
    module, rows = parts(small, data)
    with pytest.raises(RunError, match="not bf16-true: give the Trainer one of these"):
        trainer(tmp_path, precision="bf16-true").fit(module, datamodule=rows)


def test_a_falling_rate_needs_an_end(small: LoadedSpec, data: Path, tmp_path: Path) -> None:
    module, rows = parts(small, data, schedule="cosine")
    with pytest.raises(RunError, match="give the Trainer max_epochs or max_steps"):
        trainer(tmp_path, max_epochs=-1).fit(module, datamodule=rows)


def test_a_loss_that_is_not_finite_names_its_rows(
    small: LoadedSpec, data: Path, tmp_path: Path
) -> None:
    module, rows = parts(small, data)
    with torch.no_grad():
        module.code.logical_state(module.model)["towers.like.linears.1.bias"].fill_(math.nan)
    with pytest.raises(RunError, match=r"loss of like .* epoch 1, batch 1 .*bad_batch.csv lists"):
        trainer(tmp_path).fit(module, datamodule=rows)
    assert len((tmp_path / "bad_batch.csv").read_text().splitlines()) == 129


# ---------------------------------------------------------------- several processes

SCRIPT = """\
import sys, warnings
sys.path[:0] = {path!r}
warnings.filterwarnings("ignore")
import torch
import lightning.pytorch as lightning
import homespec
from homespec.train.settings import Settings
from safetensors.torch import load_file
from small_spec import SMALL

if __name__ == "__main__":
    data, out, weighting = sys.argv[1:]
    spec = homespec.loads(SMALL)
    settings = Settings(
        batch_size=128, lr=1e-2, clip=5.0, limit_rows=1500, compile=False, weighting=weighting,
        table_optimizer="adagrad" if weighting == "pcgrad" else "adam", gauc_by="user_id",
    )
    module = homespec.RankingModule(spec, settings)
    rows = homespec.RankingData(spec, data, settings=settings)
    trainer = lightning.Trainer(
        default_root_dir=out, max_epochs=1, accelerator="cpu", devices=2, strategy="ddp",
        logger=False, enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(module, datamodule=rows)
    if trainer.is_global_zero:
        torch.save([module.code.logical_state(module.model), module.measured], out + "/found.pt")
"""


@pytest.mark.parametrize("weighting", ["fixed", "gradnorm", "pcgrad"])
def test_ddp(data: Path, tmp_path: Path, weighting: str) -> None:
    """Lightning's own launcher: two processes learn what `homespec train` does under torchrun."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(path=[str(Path(__file__).parent)]))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment["PYTHONPATH"] = pythonpath()
    subprocess.run(
        [sys.executable, script, data, tmp_path, weighting], check=True, timeout=300,
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    state, measured = torch.load(tmp_path / "found.pt", weights_only=False)
    assert all(value.isfinite().all() for value in state.values())
    assert 0.4 < measured["click"]["auc"] < 1
    assert "gauc" in measured["click"]


def test_lightning_is_used_by_its_public_names() -> None:
    for path in (Path(__file__).parents[2] / "homespec" / "train").rglob("*.py"):
        text = path.read_text("utf-8")
        assert not re.search(
            r"(trainer|fit_loop|epoch_loop|strategy)\._|automatic_optimization", text
        )
        assert not re.search(r"^from lightning\S* import .*\b_", text, re.MULTILINE)


def test_the_page_of_the_docs(data: Path, tmp_path: Path) -> None:
    """Its Python blocks run one after the other."""
    root = Path(__file__).parents[2]
    for name, target in (("specs", root / "specs"), ("prepared", data)):
        (tmp_path / name).symlink_to(target)
    page = (root / "docs" / "lightning.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    found = "'kept/' + __import__('os').listdir('kept')[0]"
    code = "\n".join(blocks).replace('"kept/CKPT"', found)
    code = code.replace('"uncertainty"', '"uncertainty", compile=False')  # in less than a minute
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=600, env=os.environ | {"PYTHONPATH": pythonpath()},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert list((tmp_path / "logs" / "mine").rglob("metrics.csv"))


def pythonpath() -> str:
    """This checkout first, for processes that start elsewhere."""
    own = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(filter(None, own))


def test_plain_homespec_needs_no_lightning() -> None:
    """The export is lazy, and says what to install."""
    code = (
        "import sys, homespec\n"
        "assert not {'torch', 'lightning'} & sys.modules.keys()\n"
        "assert 'RankingModule' in dir(homespec)\n"
        "sys.modules['lightning'] = None\n"
        "try: homespec.RankingModule\n"
        "except ImportError as error: print(error)\n"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == (
        f"homespec.RankingModule needs lightning.pytorch: {install_command('train')}\n"
    )
