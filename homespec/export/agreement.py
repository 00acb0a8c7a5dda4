"""Export: compares the outputs of exported and trained models, at several batch sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from homespec.export import ExportError

BATCHES = (1, 2, 7, 64, 1000)
FEW = 7
"""With fewer rows, every row must agree."""
UNSTEADY = 0.01
"""Maximum share of rows in which a search by scores may select other events of similar score."""
MAX_SHOWN = 10

Function = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]
"""Features by name -> outputs by task."""
Allowed = Callable[[str, Tensor], Tensor]
"""A task and its expected outputs -> how much each may differ."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of two models."""

    largest: float
    """The largest difference that counts as rounding."""
    unsteady: int
    """Number of rows with a larger, permitted difference."""
    rows: int

    def __str__(self) -> str:
        if not self.unsteady:
            return f"{self.largest:.1e} apart"
        return (
            f"{self.largest:.1e} apart, but for {self.unsteady} of {self.rows} rows, in which a"
            " search by scores finds other events of nearly equal score"
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """The agreement on a task in one batch."""

    task: str
    expected_B: Tensor
    found_B: Tensor
    excess_B: Tensor
    """By how much each difference exceeds rounding; 0 or less if it does not."""

    def __str__(self) -> str:
        at, rows = int(self.excess_B.argmax()), len(self.excess_B)
        found, expected = float(self.found_B[at]), float(self.expected_B[at])
        return f"{self.task} in {rows} rows: {found:.9g} in place of {expected:.9g}"


def check(
    what: str,
    found: Function,
    expected: Function,
    batches: Mapping[int, dict[str, Tensor]],
    allowed: Allowed,
    searches: bool = False,
) -> Agreement:
    """The agreement of outputs over all batches, which are given by number of rows.

    If a model `searches` events by their scores, rounding may decide which are selected, so a few
    rows may differ. Raises ExportError, which lists the differences that are not permitted.
    """
    wrong: list[Difference] = []
    largest, unsteady = 0.0, 0
    for rows, features in batches.items():
        with torch.no_grad():
            each = _differences(found(features), expected(features), allowed)
        beyond_B = torch.stack([difference.excess_B > 0 for difference in each]).any(0)
        if int(beyond_B.sum()) > _permitted(rows, searches):
            wrong += [difference for difference in each if (difference.excess_B > 0).any()]
        unsteady += int(beyond_B.sum())
        largest = max([largest, *(_largest(difference, beyond_B) for difference in each)])
    if wrong:
        more = f"\n  and {len(wrong) - MAX_SHOWN} more" if len(wrong) > MAX_SHOWN else ""
        lines = "".join(f"\n  {difference}" for difference in wrong[:MAX_SHOWN])
        raise ExportError(
            f"{what} does not give what the trained model gives, and was not put in place:"
            f"{lines}{more}"
        )
    return Agreement(largest, unsteady, sum(batches))


def _permitted(rows: int, searches: bool) -> int:
    return math.ceil(UNSTEADY * rows) if searches and rows >= FEW else 0


def _largest(difference: Difference, beyond_B: Tensor) -> float:
    apart_B = (difference.found_B - difference.expected_B).abs()[~beyond_B]
    return float(apart_B.max()) if len(apart_B) else 0.0


def _differences(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], allowed: Allowed
) -> list[Difference]:
    if [*found] != [*expected]:
        raise ExportError(f"the tasks are {', '.join(found)} in place of {', '.join(expected)}")
    return [_difference(task, found[task], expected[task], allowed) for task in expected]


def _difference(task: str, found: Tensor, expected: Tensor, allowed: Allowed) -> Difference:
    if found.shape != expected.shape:
        raise ExportError(f"{task} is {[*found.shape]} in place of {[*expected.shape]}")
    found_B, expected_B = found.double().cpu(), expected.double().cpu()
    if expected_B.isnan().any():
        raise ExportError(f"the trained model itself gives NaN for {task}: it is not exported")
    apart_B = (found_B - expected_B).abs().nan_to_num(torch.inf, torch.inf)
    return Difference(task, expected_B, found_B, apart_B - allowed(task, expected_B))
