"""Scoring: the metrics of training on rows with labels, with intervals, also for slices."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from homespec.api import PathLike
from homespec.data import DataError
from homespec.data.columns import Array
from homespec.data.paths import Paths, paths_of
from homespec.header import spec_hash
from homespec.json_values import without_nan
from homespec.runtime import Observed, Tensors, observed
from homespec.scoring import ScoringError
from homespec.scoring.intervals import LEVEL, Interval, intervals
from homespec.scoring.predict import Names, RunOptions, chosen, names_of
from homespec.scoring.rows import Progress, Rows, open_rows
from homespec.scoring.scorer import Options, Scorer, settings_of, state_of
from homespec.scoring.slices import Slicer, Value
from homespec.train.evaluate import Measures, Predicted, Predictions
from homespec.train.metrics import close_together
from homespec.train.table_merging import skipped_passes
from homespec.version import __version__

BY = "--by"
"""Who asks for the columns of slices, for messages."""


@dataclass(frozen=True)
class TaskMetrics:
    """The metrics of a task, as in the `metrics.json` of training.

    NaN if a metric does not exist.
    """

    kind: str
    """binary or regression."""
    rows: int
    """Rows with the label, on which all metrics are computed."""
    positives: int | None
    """For a binary task, the rows whose label is 1."""
    rate: float = math.nan
    """The mean label."""
    auc: float = math.nan
    gauc: float = math.nan
    logloss: float = math.nan
    pcoc: float = math.nan
    mae: float = math.nan
    rmse: float = math.nan
    intervals: dict[str, Interval] = field(default_factory=dict)
    """95 % confidence interval of each metric (`scoring/intervals.py`)."""


@dataclass(frozen=True)
class Slice:
    """The metrics of the rows with one value in a column."""

    value: Value
    """None for rows in which it is missing."""
    rows: int
    tasks: dict[str, TaskMetrics]


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a model on the rows of files."""

    spec: str
    spec_sha256: str
    run: str
    checkpoint: str
    epoch: int | None
    """Completed epochs when the weights were saved; None if the run does not record it."""
    step: int | None
    """Completed steps."""
    data: list[str]
    """The files."""
    rows: int
    weighted: bool
    """Whether metrics use the sample weights of the spec."""
    tasks: dict[str, TaskMetrics]
    slices: dict[str, list[Slice]]
    """By column, its values in ascending order; the missing value is last."""

    def as_json(self) -> dict[str, Any]:
        """The same as data for a JSON file.

        NaN is null; `tasks` is as in the `metrics.json` of training.
        """
        content = {"homespec": __version__, "confidence": LEVEL, **asdict(self)}
        result: dict[str, Any] = without_nan(content)
        return result


def evaluate(
    run: PathLike,
    data: Paths,
    *,
    tasks: Names | None = None,
    gauc_by: str | None = None,
    by: Names = (),
    weighted: bool = False,
    progress: Progress = lambda done, total: None,
    **options: Unpack[RunOptions],
) -> Evaluation:
    """The metrics of a run of `homespec train` on the rows of files, which have labels.

        found = homespec.evaluate("runs/shorts", "yesterday.parquet", by="tab")
        found.tasks["click"].auc, found.tasks["click"].intervals["auc"]

    They are measured as in training, whose batch size is taken, in eager mode and float32: on the
    held-out rows of a run of one process they are those of its `metrics.json`, bit by bit, on the
    same kind of machine. A row without the label of a task counts for the others; `tasks` measures
    some, so that no file needs the labels of the others. `gauc_by` names the column of users, for
    GAUC and for intervals. `by` are columns whose values make slices, at most 100 each. `weighted`
    weighs rows by the sample weights of the spec; without it rows of weight 0 alone are left out.
    Options are those of `predict`.

    Eight bytes a row and task are kept until the end. Raises as `predict` does, and DataError for
    files without rows and for a column of too many values.
    """
    given = Options(**options)
    state = state_of(run, given.checkpoint)
    settings = settings_of(run, state)
    scorer = Scorer.of(run, given, optimize=settings.optimize, skip_passes=skipped_passes(settings))
    measured = chosen(scorer.run.spec, tasks)
    if weighted and not any(scorer.run.spec.tasks[task].sample_weight for task in measured):
        raise ScoringError("--weighted-metrics: none of these tasks has a `sample_weight`")
    columns, size = names_of(by), given.batch_size or settings.batch_size
    rows = open_rows(
        scorer.run.spec, paths_of(data), size, labels=_labelled(scorer, measured),
        weights=measured, users=gauc_by, keep=dict.fromkeys(columns, BY),
    )  # fmt: skip
    if not rows.files.rows:
        raise DataError(f"{rows.files} has no rows")
    predictions = Predictions(measured, _observed(scorer), weighted)
    slicers = {column: Slicer(column, rows.schema.field(column).type) for column in columns}
    progress(0, rows.files.rows)
    for piece in rows:
        for batch, outputs in scorer.outputs(piece.arrays, size):
            predictions.add(batch, outputs)
        for column, slicer in slicers.items():
            slicer.add(piece.kept[column])
        progress(piece.first + piece.rows, rows.files.rows)
    taken = predictions.take()
    if taken.users_N is not None:  # computed once for all slices
        taken = taken._replace(users_N=torch.from_numpy(close_together(taken.users_N.numpy())))
    table = _Table(Measures.of(scorer.run.spec), measured, taken)
    return _evaluation(scorer, given, state, rows, table, slicers)


def _evaluation(
    scorer: Scorer,
    options: Options,
    state: dict[str, Any],
    rows: Rows,
    table: _Table,
    slicers: dict[str, Slicer],
) -> Evaluation:
    run, files = scorer.run, rows.files
    at = state.get("at", {})
    own_hash = spec_hash(run.spec.analysis.document)
    return Evaluation(
        spec=run.spec.name,
        spec_sha256=state.get("spec_sha256", own_hash),
        run=str(run.folder),
        checkpoint=options.checkpoint,
        epoch=at.get("epoch"),
        step=at.get("step"),
        data=[str(file.path) for file in files.files],
        rows=files.rows,
        weighted=table.rows.weights_TN is not None,
        tasks=table.metrics(),
        slices={column: list(_slices(table, slicer)) for column, slicer in slicers.items()},
    )


def _slices(table: _Table, slicer: Slicer) -> Iterator[Slice]:
    for value, row_numbers in slicer.slices():
        yield Slice(value, len(row_numbers), table.part(row_numbers).metrics())


def _labelled(scorer: Scorer, tasks: Collection[str]) -> set[str]:
    """The tasks whose labels are read: these, and those that define their sample spaces."""
    of = scorer.run.spec.tasks
    wanted, left = set[str](), list(tasks)
    while left:
        task = left.pop()
        wanted.add(task)
        if (where := of[task].where) and where not in wanted:
            left.append(where)
    return wanted


def _observed(scorer: Scorer) -> Observed:
    """Restricts labels of some tasks to each task's own sample space."""
    hide, tasks = observed(scorer.run.module), scorer.run.module.TASKS

    def complete(labels: Tensors, weights: Tensors) -> dict[str, Tensor]:
        unknown = torch.full_like(next(iter(labels.values())), torch.nan)
        return hide({task: labels.get(task, unknown) for task in tasks}, weights)

    return complete


@dataclass(frozen=True)
class _Table:
    """Rows with the values from which metrics are computed."""

    measures: Measures
    tasks: tuple[str, ...]
    rows: Predicted

    def part(self, row_numbers: Array) -> _Table:
        """A subset of the rows."""
        return _Table(self.measures, self.tasks, self.rows.part(torch.from_numpy(row_numbers)))

    def metrics(self) -> dict[str, TaskMetrics]:
        """The metrics of each task."""
        found = self.measures.measured(self.tasks, self.rows)
        users, weights = (
            None if each is None else each.numpy()
            for each in (self.rows.users_N, self.rows.weights_TN)
        )
        made = {}
        pairs = zip(self.rows.scores_TN.numpy(), self.rows.labels_TN.numpy(), strict=True)
        for number, (score_N, label_N) in enumerate(pairs):
            task = self.tasks[number]
            kind, scale = self.measures.kinds[task], self.measures.scales[task]
            own = None if weights is None else weights[number]
            made[task] = TaskMetrics(
                kind=kind,
                rows=int((~np.isnan(label_N)).sum()),
                positives=int((label_N > 0).sum()) if kind == "binary" else None,
                intervals=intervals(kind, score_N, label_N, users, scale, own),
                **found[task],
            )
        return made
