"""Export: whether what was made gives what the trained model gives, at several sizes of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from homespec.export import ExportError

BATCHES = (1, 2, 7, 64, 1000)
MAX_SHOWN = 10

Function = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]
"""Features by name -> outputs by task."""
Allowed = Callable[[str, Tensor], Tensor]
"""A task and its expected outputs -> by how much each may differ."""


@dataclass(frozen=True, slots=True)
class Difference:
    """That of a task at one size of the batch, where it is worst beside what is allowed."""

    rows: int
    task: str
    expected: float
    found: float
    is_rounding: bool
    largest: float
    """The largest difference anywhere in the batch."""

    def __str__(self) -> str:
        return f"{self.task} in {self.rows} rows: {self.found:.9g} in place of {self.expected:.9g}"


def check(
    what: str,
    found: Function,
    expected: Function,
    batches: Mapping[int, dict[str, Tensor]],
    allowed: Allowed,
) -> float:
    """The largest difference over all batches, by the number of rows.

    Raises ExportError that lists every difference beyond rounding.
    """
    with torch.no_grad():
        each = [
            difference
            for rows, features in batches.items()
            for difference in _differences(rows, found(features), expected(features), allowed)
        ]
    wrong = [difference for difference in each if not difference.is_rounding]
    if wrong:
        more = f"\n  and {len(wrong) - MAX_SHOWN} more" if len(wrong) > MAX_SHOWN else ""
        lines = "".join(f"\n  {difference}" for difference in wrong[:MAX_SHOWN])
        raise ExportError(
            f"{what} does not give what the trained model gives, and was not put in place:"
            f"{lines}{more}"
        )
    return max(difference.largest for difference in each)


def _differences(
    rows: int, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], allowed: Allowed
) -> list[Difference]:
    if [*found] != [*expected]:
        raise ExportError(f"the tasks are {', '.join(found)} in place of {', '.join(expected)}")
    return [_worst(rows, task, found[task], expected[task], allowed) for task in expected]


def _worst(rows: int, task: str, found: Tensor, expected: Tensor, allowed: Allowed) -> Difference:
    if found.shape != expected.shape:
        raise ExportError(f"{task} is {[*found.shape]} in place of {[*expected.shape]}")
    one, other = found.double().cpu(), expected.double().cpu()
    if other.isnan().any():
        raise ExportError(f"the trained model itself gives NaN for {task}: it is not exported")
    apart = (one - other).abs().nan_to_num(torch.inf, torch.inf)
    excess = apart - allowed(task, other)
    at = int(excess.argmax())
    is_rounding = float(excess[at]) <= 0
    return Difference(rows, task, float(other[at]), float(one[at]), is_rounding, float(apart.max()))
