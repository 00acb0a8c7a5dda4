"""Training: the losses of all steps, looked at now and then, in a file that resuming continues."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import torch
from torch import Tensor

from homespec.train.checkpoint import sync, writing
from homespec.train.ranks import gathered, rank
from homespec.writing import appending, replacing

FILE = "losses.csv"


class Losses:
    """The tasks' losses of every step, on their way to a CSV file.

    They wait where they were computed, since a look at them waits for the device. With several
    processes the file has their means, and the first one writes it.
    """

    def __init__(self, tasks: tuple[str, ...], path: Path) -> None:
        """The file has a column for the step and one for each task."""
        self.tasks, self.path = tasks, path
        self._waiting: list[Tensor] = []
        self._step = 0

    def open(self, step: int) -> None:
        """Begin behind `step`: what the file holds of later steps is forgotten."""
        self._waiting.clear()
        self._step = step
        if rank() > 0:
            return
        kept = rows_until(self.path, step) if step else []
        text = _line(["step", *self.tasks]) + "".join(kept)
        with writing(self.path), replacing(self.path) as (new,):
            new.write_bytes(text.encode())

    def add(self, losses_T: Tensor) -> None:
        """The losses [T] of the next step."""
        self._waiting.append(losses_T.detach())

    def look(self) -> Tensor | None:
        """Write what waits; the losses [W, S, T] of these steps in all processes, None if there
        are none. To be called by all of them.
        """
        if not self._waiting:
            return None
        (losses_WST,), _ = gathered(torch.stack(self._waiting).float().unsqueeze(0))
        losses_WST = losses_WST.cpu()
        self._waiting.clear()
        if rank() == 0:
            self._write(losses_WST.mean(0))
        return losses_WST

    def _write(self, losses_ST: Tensor) -> None:
        lines = []
        for losses in losses_ST.tolist():
            self._step += 1
            lines.append(_line([self._step, *(f"{loss:.6g}" for loss in losses)]))
        with writing(self.path), appending(self.path) as file:
            file.write("".join(lines))

    def sync(self) -> None:
        """Wait until the disk has what was written: a checkpoint counts on it."""
        with writing(self.path):
            sync(self.path)


def _line(cells: list[object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()


def rows_until(path: Path, step: int) -> list[str]:
    """The whole lines of a file of losses up to a step; none if it is not there."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        lines = [line for line in file if line.endswith("\n")][1:]
    return [line for line in lines if int(line.partition(",")[0]) <= step]


def means(path: Path, first: int, last: int) -> dict[str, float]:
    """The mean loss of each task over the steps `first` to `last`; NaN if there are none."""
    with path.open(newline="") as file:
        rows = csv.reader(file)
        tasks = next(rows)[1:]
        sums, count = [0.0] * len(tasks), 0
        for step, *losses in rows:
            if first <= int(step) <= last:
                sums = [total + float(loss) for total, loss in zip(sums, losses, strict=True)]
                count += 1
    return {t: s / count if count else math.nan for t, s in zip(tasks, sums, strict=True)}
