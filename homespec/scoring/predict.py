"""Scoring: one score for each row and task, beside columns that pass through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack, get_args

import numpy as np
import pyarrow as pa
import torch

from homespec.api import LoadedSpec, PathLike
from homespec.data.columns import Array
from homespec.data.paths import Paths, paths_of
from homespec.schema.models import Spec
from homespec.scoring import Output, ScoringError
from homespec.scoring.rows import Piece, Progress, Rows, open_rows
from homespec.scoring.scorer import Options, Precision, Scorer
from homespec.scoring.writer import check_not_of_run, check_output, writing
from homespec.train.load_run import Which
from homespec.train.metrics import sigmoid
from homespec.variant import variant

BATCH_SIZE = 1024
"""Rows that are scored together. Larger batches were slower on a CPU (docs/predict.md)."""
KEEP = "--keep"
"""Who asks for the columns that pass through, for messages."""

Names = str | Sequence[str]


class RunOptions(TypedDict, total=False):
    """The fields of `Options`, which `predict` and `evaluate` take by name."""

    checkpoint: Which
    batch_size: int | None
    precision: Precision
    compile: bool
    device: str | None
    spec: PathLike | LoadedSpec | None


@dataclass(frozen=True)
class Scores:
    """The scores of rows in order, computed each time you iterate.

    Tables have the columns that pass through, then a float32 column for each task.
    """

    scorer: Scorer
    data: tuple[Path, ...]
    rows: Rows
    columns: dict[str, str]
    """The name of each task's column."""
    output: Output

    @property
    def schema(self) -> pa.Schema:
        """The columns of the tables."""
        own = [pa.field(name, pa.float32()) for name in self.columns.values()]
        return pa.schema([*self.rows.kept_schema, *own])

    def __len__(self) -> int:
        """The number of rows."""
        return self.rows.files.rows

    def __iter__(self) -> Iterator[pa.Table]:
        """Tables of a few thousand rows each. The next one is read while one is scored.

        Raises DataError for data that cannot be used and ScoringError for a score that is not
        finite.
        """
        for piece in self.rows:
            scores = [pa.array(column) for column in self._scored(piece)]
            yield pa.table([*piece.kept.columns, *scores], schema=self.schema)

    def table(self) -> pa.Table:
        """All rows, in memory."""
        return pa.concat_tables([self.schema.empty_table(), *self])

    def write(self, out: PathLike, progress: Progress = lambda done, total: None) -> int:
        """Write all rows to a file (.parquet, .csv, .csv.gz) atomically, and return their number.

        Memory does not grow with the number of rows. Raises the same errors as iteration, and
        ScoringError if the file cannot be written.
        """
        path, done = Path(out), 0
        check_output(path, self.rows.files, self.data, self.schema)
        check_not_of_run(path, self.scorer.run.folder)
        with writing(path, self.schema) as append:
            progress(0, len(self))
            for table in self:
                append(table)
                done += table.num_rows
                progress(done, len(self))
        return done

    def _scored(self, piece: Piece) -> list[Array]:
        """A column of scores for each task, with the length of the piece."""
        batches = self.scorer.outputs(piece.arrays, self.rows.batch_size)
        parts = [
            torch.stack([outputs[task].float() for task in self.columns]).cpu().numpy()
            for _, outputs in batches
        ]
        outputs_TN = np.concatenate(parts, 1)[:, : piece.rows]
        return [
            self._score(task, output_N, piece.first)
            for task, output_N in zip(self.columns, outputs_TN, strict=True)
        ]

    def _score(self, task: str, output: Array, first: int) -> Array:
        """The values of a task's column, float32 [N]."""
        bad = np.flatnonzero(~np.isfinite(output))
        if len(bad):
            file, row = self.rows.files.place(first + int(bad[0]))
            raise ScoringError(
                f"{file}, row {row} (from 0): the score of `{task}` is {output[bad[0]]}: check "
                "this row for very large numbers"
            )
        if self.output == "logits":
            return output
        own = self.scorer.run.spec.tasks[task]
        if own.kind == "regression":
            return np.asarray(output * np.float32(own.scale))
        return sigmoid(output).astype(np.float32)


def predict(
    run: PathLike,
    data: Paths,
    *,
    tasks: Names | None = None,
    keep: Names = (),
    output: Output = "probabilities",
    prefix: str = "",
    **options: Unpack[RunOptions],
) -> Scores:
    """The scores of the rows of files by the model of a run of `homespec train`.

        scores = homespec.predict("runs/shorts", "today.parquet", keep=["user_id", "video_id"])
        scores.write("scores.parquet")
        for table in scores: ...           # pyarrow tables, some rows at a time

    `data` are files and folders as `homespec train` takes them; they need no labels. `keep` are
    columns that pass through. There is a column for each task, or each of `tasks`, named after it
    with `prefix` before: the probability of a binary task, the estimate of a regression in the
    label's units; with `output="logits"` what the model computes, which of a regression is in units
    of its `scale`. The task that is a `product` of others has its own probability, over all rows.

    Options: `checkpoint` "best" or "last", `batch_size`, `precision` "float32" or "bf16",
    `compile`, `device`, and `spec` for a run whose folder keeps none.

    Raises RunError for a folder without a run, DataError for data that lacks a column,
    UnknownNameError, a ValueError, for an unknown task, and ScoringError for a missing device or
    two columns with the same name.
    """
    if output not in get_args(Output):
        raise ValueError(f"output is {output!r}, not {' or '.join(get_args(Output))}")
    given = Options(**options)
    scorer = Scorer.of(run, given, mode="inference", tasks=tasks or None)
    columns = {task: prefix + task for task in chosen(scorer.run.spec, tasks)}
    kept = dict.fromkeys(names_of(keep), KEEP)
    _check_names(columns, kept)
    paths = paths_of(data)
    size = given.batch_size or BATCH_SIZE
    return Scores(
        scorer, paths, open_rows(scorer.run.spec, paths, size, keep=kept), columns, output
    )


def chosen(spec: Spec, tasks: Names | None) -> tuple[str, ...]:
    """The requested tasks, or all tasks for None, in the order of the spec.

    Raises UnknownNameError.
    """
    asked = variant(tasks=tasks or None).asking(spec.tasks).tasks
    return asked or tuple(spec.tasks)


def _check_names(columns: dict[str, str], kept: dict[str, str]) -> None:
    """Raise ScoringError if two columns would have the same name."""
    clash = [name for name in columns.values() if name in kept]
    if clash:
        raise ScoringError(
            f"`{clash[0]}` is both a column to keep and the name of a score column: do not keep "
            "it, or rename the scores with a prefix, such as --prefix p_"
        )


def names_of(names: Names) -> tuple[str, ...]:
    """One name or several, without duplicates."""
    return tuple(dict.fromkeys((names,) if isinstance(names, str) else names))
