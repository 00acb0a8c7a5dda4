"""The doctor: the training losses of a run, as a curve for each task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from homespec.health.measures import LossPoint
from homespec.train import losses

POINTS = 60
LAST = 10**12
"""A step beyond the end of any run."""


def training_losses(run: Path) -> dict[str, tuple[LossPoint, ...]]:
    """The curves by task; empty if there is no file. Raises RunError if the file is damaged."""
    file = run / losses.FILE
    if not file.exists():
        return {}
    steps = losses.read(file, 1, LAST)
    means = [(end, steps.part(begin, end).means()) for begin, end in _parts(len(steps))]
    return {task: tuple(LossPoint(end, own[task]) for end, own in means) for task in steps.tasks}


def _parts(steps: int) -> Iterator[tuple[int, int]]:
    """The steps in at most `POINTS` parts of about equal size."""
    count = min(POINTS, steps)
    for number in range(count):
        yield steps * number // count, steps * (number + 1) // count
