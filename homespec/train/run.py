"""Training: from a spec and prepared data to a trained model, its metrics and its files."""

from __future__ import annotations

import csv
import json
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import lightning.pytorch as lightning
import safetensors.torch
import torch
from torch import Tensor

import homespec
from homespec import __version__
from homespec.data import DataError
from homespec.data.batches import as_batch
from homespec.data.held import hold
from homespec.data.plan import Arrays
from homespec.data.source import Source, locate
from homespec.emit.header import spec_hash
from homespec.schema.labels import parse_label
from homespec.train.compiling import decide
from homespec.train.loop import Rows, Training
from homespec.train.progress import PlainProgress
from homespec.writing import replacing

if TYPE_CHECKING:
    from homespec.api import LoadedSpec
    from homespec.schema.models import Spec, Task

WEIGHTS_FILE, METRICS_FILE, LOSSES_FILE = "model.safetensors", "metrics.json", "losses.csv"
BAYES_FILE = "bayes.json"
LIGHTNING_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {
    "float32": "32-true",
    "bf16": "bf16-mixed",
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How to train."""

    epochs: int = 1
    batch_size: int = 1024
    lr: float = 3e-3
    seed: int = 0
    precision: str = "float32"
    compile: bool | None = None
    """None: where it can work."""
    limit_rows: int | None = None
    """Use the first rows only."""


@dataclass(frozen=True)
class TaskResult:
    """What training did to one task. NaN where there is nothing to measure."""

    kind: str
    """binary or regression."""
    rate: float
    """Mean label of the task's training rows: for a binary task the share of positives."""
    loss_first: float
    """Mean over the first tenth of the steps."""
    loss_last: float
    """Mean over the last tenth of the steps."""
    auc: float
    """On the held-out rows."""
    bayes_auc: float
    """The best AUC to expect there, where the data's generator knows it."""
    mae: float = math.nan
    """Mean absolute error of a regression on the held-out rows, in the label's units."""
    rmse: float = math.nan
    """Root mean square error of a regression there."""


@dataclass(frozen=True)
class Result:
    """What a training run came to."""

    spec: str
    spec_sha256: str
    settings: Settings
    compiled: bool
    tasks: dict[str, TaskResult]
    rows_train: int
    rows_valid: int
    rows_per_second: float
    seconds: float
    parameters: int


def train(spec: LoadedSpec, data: Path, out: Path, settings: Settings, say: Say) -> Result:
    """Train the model of `spec` on DATA/train.parquet, evaluate it on DATA/valid.parquet.

    Leaves weights by logical names, metrics and the losses of every step in `out`, all or none.
    `say` gets a line now and then. Raises DataError for data that cannot be used.
    """
    rows = _read(spec, data, settings, say)
    lightning.seed_everything(settings.seed, verbose=False)
    code, model = homespec.build_module(spec), homespec.build(spec)
    compiled, how = decide(settings.compile)
    say(how)
    kinds = {name: task.kind for name, task in spec.tasks.items()}
    training = Training(model, code, kinds, settings.lr, compiled)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # Lightning 2.6, torch 2.13
        try:
            _trainer(settings).fit(training, datamodule=rows)
        except SystemExit:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from None
    seconds = time.perf_counter() - started
    timer = training.timer
    result = Result(
        spec=spec.name,
        spec_sha256=spec_hash(spec.analysis.document),
        settings=settings,
        compiled=compiled,
        tasks=_task_results(spec, data, training, rows.held),
        rows_train=rows.train.rows,
        rows_valid=rows.valid.rows,
        rows_per_second=_ratio(timer.steps * settings.batch_size, timer.seconds),
        seconds=seconds,
        parameters=sum(p.numel() for p in model.parameters()),
    )
    write(result, training, code.logical_state(model), out)
    return result


def _ratio(rows: int, seconds: float) -> float:
    return rows / seconds if rows else math.nan  # an epoch of one step has no later steps


def _read(spec: Spec, data: Path, settings: Settings, say: Say) -> Rows:
    train, valid = locate([data])
    if valid is None:
        raise DataError(f"{data} holds no valid.parquet: the rows to measure on")
    train, valid = (source.first(settings.limit_rows) for source in (train, valid))
    rows = Rows(spec, _held(spec, train), _held(spec, valid), settings.batch_size, settings.seed)
    if rows.train.rows < settings.batch_size:
        raise DataError(
            f"{train} has {rows.train.rows} rows, fewer than one batch of"
            f" {settings.batch_size}: give a smaller --batch-size"
        )
    dropped = rows.train.rows % settings.batch_size
    say(
        f"{rows.train.rows:,} rows to train on, {rows.valid.rows:,} held out; each epoch leaves out"
        f" {dropped} rows that do not fill a batch of {settings.batch_size}"
    )
    return rows


def _held(spec: Spec, source: Source) -> tuple[Source, Arrays]:
    held = hold(spec, source, limit=math.inf)
    assert held is not None
    return source, held


def _trainer(settings: Settings) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no advertisements
    terminal = sys.stdout.isatty()
    return lightning.Trainer(
        max_epochs=settings.epochs,
        precision=LIGHTNING_PRECISIONS[settings.precision],
        devices=1,
        enable_progress_bar=terminal,
        callbacks=[] if terminal else [PlainProgress()],
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )


def _task_results(
    spec: Spec, data: Path, training: Training, train: Arrays
) -> dict[str, TaskResult]:
    losses_TS = torch.stack(training.step_losses).cpu().T
    tenth = math.ceil(losses_TS.shape[1] / 10)
    bayes = read_bayes(data / BAYES_FILE)
    labels = training.observed(as_batch(train).labels)
    results = {}
    for task, losses_S in zip(training.tasks, losses_TS, strict=True):
        measured = training.measured_by_epoch[-1][task]
        results[task] = TaskResult(
            kind=training.kinds[task],
            rate=float(labels[task].nanmean()),
            loss_first=float(losses_S[:tenth].mean()),
            loss_last=float(losses_S[-tenth:].mean()),
            auc=measured.get("auc", math.nan),
            bayes_auc=_best(spec.tasks[task], bayes),
            mae=measured.get("mae", math.nan),
            rmse=measured.get("rmse", math.nan),
        )
    return results


def _best(task: Task, bayes: dict[str, float]) -> float:
    """The best AUC that the data's generator knows: for binary labels over all rows."""
    if task.where or task.kind != "binary":
        return math.nan
    return bayes.get(str(parse_label(task.label)), math.nan)


def read_bayes(path: Path) -> dict[str, float]:
    """The best AUC to expect, by label in its one spelling; empty if the file is not there."""
    if not path.is_file():
        return {}
    by_label = json.loads(path.read_text())["auc"]
    return {str(parse_label(label)): value for label, value in by_label.items()}


def write(result: Result, training: Training, state: dict[str, Tensor], out: Path) -> None:
    """Write weights, metrics and losses to the folder `out`, all or none."""
    copies = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
    names = (WEIGHTS_FILE, METRICS_FILE, LOSSES_FILE)
    with replacing(*(out / name for name in names)) as (weights_at, metrics_at, losses_at):
        safetensors.torch.save_file(copies, weights_at, metadata=_metadata(result))
        metrics_at.write_text(json.dumps(_without_nan(asdict(result)), indent=2) + "\n")
        with losses_at.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["step", *training.tasks])
            for step, losses_T in enumerate(torch.stack(training.step_losses).tolist(), start=1):
                table.writerow([step, *(f"{loss:.6g}" for loss in losses_T)])


def _metadata(result: Result) -> dict[str, str]:
    """What tells the weights of one model from those of another."""
    about = {"spec": result.spec, "spec_sha256": result.spec_sha256, "homespec": __version__}
    return {"about": json.dumps(about)}  # one key: the format does not keep their order


def _without_nan(value: object) -> object:
    """NaN is no JSON: null takes its place."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
