"""The doctor: measures a run on held-out rows and returns its health."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from homespec.activations.moments import Moments
from homespec.activations.numbers import Numbers
from homespec.activations.observers import Observer
from homespec.activations.walk import Trunk
from homespec.data import DataError
from homespec.data.batches import Batch
from homespec.doctor import knock_outs
from homespec.doctor.gradients import gradients
from homespec.doctor.knock_outs import Progress, silent
from homespec.doctor.paired import KeptLosses
from homespec.doctor.row_losses import RowLosses
from homespec.doctor.sample import Sample
from homespec.doctor.scores import Scores
from homespec.doctor.training_losses import training_losses
from homespec.graph.nodes import Objective
from homespec.header import spec_hash
from homespec.health.measures import Gradients, Health, Knockout, Task
from homespec.health.thresholds import SAMPLE_ROWS, TOLERANCE, Thresholds

if TYPE_CHECKING:
    from homespec.train.load_run import Run

METRICS = ("auc", "gauc", "logloss", "pcoc", "mae", "rmse", "rate", "loss_last")
"""Keys that are read from metrics.json."""


@dataclass(frozen=True)
class Options:
    """Options of an examination."""

    sample_rows: int = SAMPLE_ROWS
    """Maximum number of rows for knock-outs. With 0 there are no knock-outs, and so no verdicts."""
    tolerance: float = TOLERANCE
    thresholds: Thresholds = field(default_factory=Thresholds)
    at_start: bool = False
    """Whether the model has not been trained yet. Then no knock-outs are measured."""


class Rows(Protocol):
    """Held-out rows; `HeldOut` reads them from files."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    def batches(self) -> Iterator[Batch]:
        """All rows in batches."""


@torch.no_grad()
def examine(
    run: Run,
    held_out: Rows,
    options: Options | None = None,
    progress: Progress = silent,
    kept: KeptLosses | None = None,
) -> Health:
    """Measure a run that was loaded with `optimize=False`. Raises DataError.

    `kept` receives the losses of all rows, to compare them with those of another run.
    """
    options = options or Options()
    analysis = run.spec.analysis
    trunk = Trunk(analysis.graph, run.module, run.model.eval())
    limits = options.thresholds
    seen = Observer(options.tolerance, limits.saturation)
    wanted = 0 if options.at_start else options.sample_rows
    tasks = Tasks(trunk, run, Sample(wanted, held_out.rows, _rates(run)))
    advance = progress("rows", held_out.rows)
    for batch in held_out.batches():
        x_BV = trunk.inputs(batch.features)
        if not tasks.rows:
            trunk.check(x_BV)
        losses_TB = tasks.add(x_BV, trunk.logits(trunk(x_BV, watch=seen)), batch)
        if kept is not None:
            kept.add(losses_TB)
        advance(len(x_BV))
    sample = tasks.sample
    sample.join()
    similar = knock_outs.covariances(trunk, sample)
    numbers = Numbers(analysis, seen, similar)
    tried = knock_outs.trials(trunk, seen, similar, limits) if sample.rows else ()
    found = knock_outs.measure(trunk, sample, tried, progress)
    return _health(run, options, numbers, tasks, found)


def _health(
    run: Run, options: Options, numbers: Numbers, tasks: Tasks, found: list[Knockout]
) -> Health:
    analysis, sample = run.spec.analysis, tasks.sample
    pulls = gradients(tasks.trunk, sample, analysis.root)
    least = options.thresholds.positives
    return Health(
        run=str(run.folder),
        spec=run.spec.name,
        spec_sha256=spec_hash(analysis.document),
        rows=tasks.rows,
        sample_rows=sample.rows,
        tolerance=options.tolerance,
        thresholds=options.thresholds,
        experts=tuple(numbers.experts()),
        gates=tuple(numbers.gates()),
        self_gates=tuple(numbers.self_gates()),
        feature_gates=tuple(numbers.feature_gates()),
        tasks=tuple(tasks.numbers(pulls, least)),
        knockouts=tuple(found),
        at_start=options.at_start,
    )


def _rates(run: Run) -> list[float]:
    """The share of positives of each task on held-out rows; NaN if it is unknown."""
    rates = []
    for task in run.module.TASKS:
        of_spec = run.spec.tasks[task]
        known = _metrics(run, task).get("rate", of_spec.rate)
        binary = of_spec.kind == "binary" and known is not None
        rates.append(float(known) if binary and known is not None else math.nan)
    return rates


def _metrics(run: Run, task: str) -> dict[str, float]:
    """The entries of a task in metrics.json that are numbers."""
    own = run.metrics.get("tasks", {}).get(task, {})
    return {name: float(own[name]) for name in METRICS if isinstance(own.get(name), int | float)}


class Tasks:
    """Running sums for each task, and the sample for knock-outs."""

    def __init__(self, trunk: Trunk, run: Run, sample: Sample) -> None:
        self.trunk, self.run, self.sample = trunk, run, sample
        self.losses = RowLosses(trunk.code)
        self.rows = 0
        self.scores = [Scores() for _ in trunk.tasks]
        self.labelled, self.positives, self.sums = torch.zeros(
            3, len(trunk.tasks), dtype=torch.float64
        )
        self.logits = Moments()

    def add(self, x_BV: Tensor, logits_TB: Tensor, batch: Batch) -> Tensor:
        """Add a batch and return its losses [T, B].

        Raises DataError for a row whose prediction is NaN, because its loss would look like that of
        a row without a label.
        """
        self._check(logits_TB)
        labels_TB = self.losses.labels(batch.labels, batch.weights).to(logits_TB.device)
        losses_TB = self.losses(logits_TB, labels_TB)
        self.rows += len(x_BV)
        self.labelled += (~labels_TB.isnan()).sum(1).cpu()
        self.positives += (labels_TB > 0.5).sum(1).cpu()
        self.sums += losses_TB.nansum(1).cpu()
        self.logits.add(logits_TB.T)
        for score, logits_B, labels_B in zip(self.scores, logits_TB, labels_TB, strict=True):
            score.add(logits_B, labels_B)
        self.sample.add(x_BV, labels_TB)
        return losses_TB

    def _check(self, logits_TB: Tensor) -> None:
        bad = (~logits_TB.isfinite()).nonzero().tolist()
        if bad:
            task, row = min(bad, key=lambda place: place[1])
            raise DataError(
                f"row {self.rows + row} (from 0) of the held-out rows: the logit of"
                f" `{self.trunk.tasks[task]}` is {float(logits_TB[task, row])}: check this row "
                "for very large numbers"
            )

    def numbers(self, pulls: dict[str, Gradients], least: float) -> Iterator[Task]:
        """The numbers of each task.

        A task is judged if it has at least `least` positives and negatives.
        """
        curves = training_losses(self.run.folder)
        spreads = self.logits.std
        lines = {o.task: o.span.start.line for o in self.trunk.graph.of(Objective)}
        for number, name in enumerate(self.trunk.tasks):
            binary = self.run.spec.tasks[name].kind == "binary"
            rows, positives = self.sample.labelled(number)
            fewest = min(positives, rows - positives) if binary else rows
            labelled = int(self.labelled[number])
            metrics = _metrics(self.run, name)
            yield Task(
                name=name,
                kind="binary" if binary else "regression",
                line=lines[name],
                rows=labelled,
                positives=int(self.positives[number]) if binary else 0,
                sample_rows=rows,
                sample_positives=positives if binary else 0,
                judged=fewest >= least,
                trained_positives=self._trained(name, metrics) if binary else math.nan,
                loss=float(self.sums[number]) / labelled if labelled else math.nan,
                auc=self.scores[number].auc if binary else math.nan,
                calibration=self.scores[number].calibration() if binary else (),
                losses=curves.get(name, ()),
                metrics=metrics,
                gradients=pulls[name],
                spread=float(spreads[number]),
            )

    def _trained(self, task: str, metrics: dict[str, float]) -> float:
        """Positives seen in training: the labelled rows times the rate of the held-out ones."""
        own = self.run.metrics.get("tasks", {}).get(task, {})
        labelled = own.get("labelled")
        known = isinstance(labelled, int | float) and labelled > 0
        return labelled * metrics.get("rate", math.nan) if known else math.nan
