"""Training: the result of a run, from its checkpoints, and the files that describe it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch

from homespec.atomic_write import replacing
from homespec.data import DataError
from homespec.json_values import without_nan
from homespec.schema.label_parser import parse_label
from homespec.train import checkpoint
from homespec.train.checkpoint import BEST, FOLDER, WEIGHTS_FILE
from homespec.train.checkpoint_callback import History
from homespec.train.checkpoint_checks import Json
from homespec.train.losses import read
from homespec.train.run_files import METRICS_FILE
from homespec.train.settings import Settings
from homespec.version import __version__

if TYPE_CHECKING:
    from homespec.schema.models import Spec, Task

BAYES_FILE = "bayes.json"


@dataclass(frozen=True)
class TaskResult:
    """The result of training for one task. NaN if there is nothing to measure."""

    kind: str
    """binary or regression."""
    loss_first: float
    """Mean loss over the rows with the label in the first tenth of the steps."""
    loss_last: float
    """The same for the last tenth of the steps."""
    labelled: int
    """Number of rows with the label in all steps of `losses.csv`; a row counts in each epoch."""
    rate: float = math.nan
    """Mean label of the held-out rows: for a binary task the share of positives."""
    auc: float = math.nan
    """On the held-out rows, like all following fields."""
    gauc: float = math.nan
    logloss: float = math.nan
    pcoc: float = math.nan
    """Mean prediction / mean label."""
    bayes_auc: float = math.nan
    """The best AUC to expect there, if the data's generator knows it."""
    mae: float = math.nan
    """Mean absolute error of a regression, in the label's units."""
    rmse: float = math.nan
    """Root mean square error of a regression."""


@dataclass(frozen=True)
class Result:
    """The result of a training run."""

    spec: str
    spec_sha256: str
    settings: Settings
    compiled: bool
    compilations: int
    """Number of graphs that torch.compile created in this process."""
    tasks: dict[str, TaskResult]
    """Measurements after the best epoch."""
    monitor: str
    history: History
    rows_train: int
    rows_valid: int
    rows_per_second: float
    seconds: float
    """Seconds of this process."""
    parameters: int
    init_from: Json | None = None
    """The origin of the initial weights; None for fresh ones."""


def task_results(
    spec: Spec, history: History, losses: Path, bayes: dict[str, float]
) -> dict[str, TaskResult]:
    """The metrics of the best epoch, and the course of the losses."""
    steps = history.epochs[-1]["step"]
    tenth = math.ceil(steps / 10)
    known = read(losses, 1, steps)  # the last steps, which are all unless the file was removed
    count = len(known)
    labelled = dict(zip(known.tasks, known.rows_ST.sum(0).tolist(), strict=True))
    first = known.part(0, max(0, count - steps + tenth)).means()
    last = known.part(max(0, count - tenth), count).means()
    best = history.epochs[history.best - 1]["tasks"]
    return {
        name: TaskResult(
            kind=task.kind,
            loss_first=first[name],
            loss_last=last[name],
            labelled=math.ceil(labelled[name]),
            bayes_auc=_best(task, bayes),
            **{metric: or_nan(value) for metric, value in best[name].items()},
        )
        for name, task in spec.tasks.items()
    }


def or_nan(stored: float | None) -> float:
    """A number from a file of a run, where null stands for NaN."""
    return math.nan if stored is None else stored


def _best(task: Task, bayes: dict[str, float]) -> float:
    """The best AUC from the data's generator, for binary labels over all rows."""
    if task.where or task.kind != "binary":
        return math.nan
    return bayes.get(str(parse_label(task.label)), math.nan)


def read_bayes(path: Path) -> dict[str, float]:
    """The best AUC to expect by label, in its normal form; empty if there is no file.

    Raises DataError for a file with other contents.
    """
    if not path.is_file():
        return {}
    try:
        by_label = json.loads(path.read_text("utf-8"))["auc"]
        return {str(parse_label(label)): float(value) for label, value in by_label.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} does not hold the best AUC to expect by label ({type(error).__name__}:"
            f" {error}): remove it, or prepare the data again"
        ) from None


def write(result: Result, out: Path) -> None:
    """Write the weights of the best epoch and all metrics to the folder `out`, atomically."""
    weights = checkpoint.read(out / FOLDER / BEST).weights
    with checkpoint.writing(out), replacing(out / WEIGHTS_FILE, out / METRICS_FILE) as paths:
        safetensors.torch.save_file(dict(weights), paths[0], metadata=_metadata(result))
        paths[1].write_text(json.dumps(as_json(result), indent=2) + "\n")


def as_json(result: Result) -> Any:
    """The contents of metrics.json; `history` begins with epoch 0 if it was measured."""
    content = asdict(result)
    history = content.pop("history")
    start = [history["start"]] if history["start"] else []
    content |= {"best_epoch": history["best"], "history": [*start, *history["epochs"]]}
    if result.init_from is None:
        del content["init_from"]
    return without_nan(content)


def _metadata(result: Result) -> dict[str, str]:
    """A hash that identifies the weights of a model."""
    about = {"spec": result.spec, "spec_sha256": result.spec_sha256, "homespec": __version__}
    return {"about": json.dumps(about)}  # one key, because the format does not preserve their order
