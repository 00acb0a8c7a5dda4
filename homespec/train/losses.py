"""Training: the losses of all steps, read every few steps, in a file that resumed runs continue."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from homespec.atomic_write import appending, replacing, sync
from homespec.train import RunError
from homespec.train.checkpoint import writing
from homespec.train.distributed import all_gather, rank

FILE = "losses.csv"
ROWS = "rows/"
"""The prefix of the column with a task's number of rows with a label."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """The losses of some steps, and the number of rows with a label in each.

    If rows have weights, it is their sum. The loss of a step without labels is 0 and does not count
    in means.
    """

    tasks: tuple[str, ...]
    losses_ST: Array
    rows_ST: Array

    def __len__(self) -> int:
        return len(self.rows_ST)

    def part(self, begin: int, end: int) -> Steps:
        """A part of these steps, counted from 0."""
        return Steps(self.tasks, self.losses_ST[begin:end], self.rows_ST[begin:end])

    def means(self) -> dict[str, float]:
        """The mean loss of each task over the rows with a label; NaN if there are none."""
        rows_T = self.rows_ST.sum(0)
        sums_T = (self.losses_ST * self.rows_ST).sum(0)
        columns = zip(self.tasks, sums_T.tolist(), rows_T.tolist(), strict=True)
        return {task: total / rows if rows else math.nan for task, total, rows in columns}


class Losses:
    """The tasks' losses of the last steps.

    They stay on their device, because reading them waits for it.
    """

    file: LossFile | None = None
    """The destination of the losses, if any.

    With several processes, the first writes their means.
    """

    def __init__(self, tasks: tuple[str, ...]) -> None:
        self.tasks = tasks
        self._waiting: list[Tensor] = []

    def add(self, losses_T: Tensor, rows_T: Tensor) -> None:
        """Add the losses [T] of the next step, and the numbers of rows with a label [T]."""
        self._waiting.append(torch.stack([losses_T.detach().float(), rows_T.float()]))

    def look(self) -> tuple[Tensor, Steps] | None:
        """The losses [W, S, T] of all processes since the last call, and their means with the rows.

        None if there are none. All processes must call this.
        """
        if not self._waiting:
            return None
        (waiting_WS2T,), _ = all_gather(torch.stack(self._waiting).unsqueeze(0))
        losses_WST, rows_WST = waiting_WS2T.cpu().double().unbind(2)
        self._waiting.clear()
        steps = Steps(self.tasks, losses_WST.mean(0).numpy(), rows_WST.sum(0).numpy())
        if self.file and rank() == 0:
            self.file.append(steps)
        return losses_WST, steps


class LossFile:
    """A CSV file with the losses of every step, which a resumed run continues."""

    def __init__(self, tasks: tuple[str, ...], path: Path, batch_size: int) -> None:
        """The file has a column for the step, one for each task and one for each task's rows."""
        self.tasks, self.path, self.batch_size = tasks, path, batch_size
        self._step = 0
        self._digest = hashlib.sha256()

    def open(self, step: int) -> None:
        """Begin after `step`: later steps in the file are removed."""
        self._step = step
        if rank() > 0:
            return
        text = self._until(step)
        self._digest = hashlib.sha256(text.encode())
        with writing(self.path), replacing(self.path) as (new,):
            new.write_bytes(text.encode())

    def check(self, step: int, digest: str | None) -> None:
        """Raise RunError if the file up to `step` does not match this digest, or cannot be read.

        The digest None comes from a checkpoint without one. A missing file is not an error.
        """
        if self.path.exists():
            text = self._until(step)
            if digest is not None and hashlib.sha256(text.encode()).hexdigest() != digest:
                raise _damaged(self.path, f"the lines up to step {step} have changed")

    def _until(self, step: int) -> str:
        """The text of the file up to a step; only the first line if there is no file."""
        first = _line(["step", *self.tasks, *(f"{ROWS}{task}" for task in self.tasks)])
        if not step or not self.path.exists():
            return first
        head, lines = _lines(self.path)
        kept = list(itertools.takewhile(lambda line: _step(line) <= step, lines))
        if head == _line(["step", *self.tasks]):  # of a version that did not count rows
            kept = [self._with_rows(line) for line in kept]
        elif head != first:
            raise _damaged(self.path, "its first line does not name the tasks of the spec")
        numbers = _numbers(self.path, kept, len(first.split(",")))
        if not kept or numbers[-1, 0] != step:
            raise _damaged(self.path, f"it lacks step {step}")
        return first + "".join(kept)

    def _with_rows(self, line: str) -> str:
        """A line with the number of rows of a batch; 0 if the loss is exactly 0."""
        step, *losses = line.rstrip("\r\n").split(",")
        try:
            rows = [self.batch_size if float(loss) else 0 for loss in losses]
        except ValueError:
            raise _damaged(self.path, f"step {step} is not a line of numbers") from None
        return _line([step, *losses, *rows])

    def append(self, steps: Steps) -> None:
        """Write the losses of the next steps."""
        lines = []
        for losses, rows in zip(steps.losses_ST.tolist(), steps.rows_ST.tolist(), strict=True):
            self._step += 1
            cells = [f"{loss:.6g}" for loss in losses] + [_count(count) for count in rows]
            lines.append(_line([self._step, *cells]))
        text = "".join(lines)
        self._digest.update(text.encode())
        with writing(self.path), appending(self.path) as file:
            file.write(text)

    def sync(self) -> str:
        """Wait until everything is on disk, which checkpoints rely on, and return the digest."""
        with writing(self.path):
            sync(self.path)
        return self._digest.hexdigest()


def _count(rows: float) -> str:
    """A number of rows, or a sum of their weights."""
    return f"{rows:.0f}" if rows == round(rows) else f"{rows:.6g}"


def _line(cells: list[object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _lines(path: Path) -> tuple[str, list[str]]:
    """The first line of a file and the others, without an incomplete one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *lines = (line for line in file if line.endswith("\n"))
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from None
    except ValueError:  # no line, or no text
        raise _damaged(path, "it does not begin with a line of names") from None
    return head, lines


def _step(line: str) -> float:
    """The step of a line; infinite for an invalid line, such as one cut off by a crash."""
    try:
        return int(line.partition(",")[0])
    except ValueError:
        return math.inf


def _numbers(path: Path, lines: Sequence[str], columns: int) -> Array:
    """Lines as numbers [N, columns]; the first column is the step."""
    if not lines:
        return np.empty((0, columns))
    try:
        numbers: Array = np.loadtxt(lines, delimiter=",", comments=None, ndmin=2)
    except ValueError as error:
        raise _damaged(path, str(error).splitlines()[0].rstrip(".")) from None
    if numbers.shape[1] != columns:
        raise _damaged(path, f"its lines have {numbers.shape[1]} columns, not {columns}")
    if (np.diff(numbers[:, 0]) != 1).any():
        raise _damaged(path, "its steps are not consecutive")
    return numbers


def _damaged(path: Path, why: str) -> RunError:
    return RunError(
        f"{path} is damaged ({why}): restore it from a copy, or remove it to resume without the"
        " losses of earlier steps"
    )


def read(path: Path, first: int, last: int) -> Steps:
    """The losses of the steps `first` to `last`. Raises RunError for a file without losses."""
    head, lines = _lines(path)
    names = next(csv.reader([head]))
    count = len(names) // 2
    numbers = _numbers(path, lines, len(names))
    taken = numbers[(numbers[:, 0] >= first) & (numbers[:, 0] <= last), 1:]
    return Steps(tuple(names[1 : count + 1]), taken[:, :count], taken[:, count:])


def means(path: Path, first: int, last: int) -> dict[str, float]:
    """The mean loss of each task over the rows with a label in the steps `first` to `last`.

    NaN where there are none.
    """
    return read(path, first, last).means()
