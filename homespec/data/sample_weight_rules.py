"""HS527 and HS528: sample weights.

The thresholds are homespec's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from homespec.data.profiled import ProfiledData
from homespec.diagnostics import Finding, Severity, rule

FEW = 0.1
"""Ratio of effective rows to rows below which a few rows have most of the weight."""
MIN_ROWS = 100
"""Minimum number of rows for a report."""


@rule("HS527", "unusable-weights")
def unusable_weights(data: ProfiledData) -> Iterator[Finding]:
    """A column of sample weights holds a value that is not a weight.

    Every row needs a weight of 0 or more, even rows without a label. A negative weight would reward
    mistakes, and a missing one could mean 0 or 1. Training refuses such a file. The message names
    the first row at fault, counted from 0 in its file. Write 0 in rows that should not count for
    the task.

    Bad, where the column of some rows is empty:

    ```yaml
    tasks:
      click: {sample_weight: inverse_propensity}
    ```

    Good: the same, with 1 written into these rows.
    """
    for part in data.profiles:
        for name, weight in part.weights.items():
            if weight.problem not in ("", "missing"):
                yield Finding(
                    data.at_task(name, "sample_weight"),
                    weight.problem,
                    label="no weights",
                    help="write a number of 0 or more into every row when you prepare the data",
                )


@rule("HS528", "few-heavy-rows", Severity.WARNING)
def few_heavy_rows(data: ProfiledData) -> Iterator[Finding]:
    """A few rows have most of the sample weight, so the task learns from little else.

    For a mean, rows with weights w are worth (sum of w)² / sum of w² rows of equal weight (Kish,
    *Survey Sampling*, 1965). This warning appears if that is less than a tenth of the rows whose
    weight is not 0. Often the column is not a weight but something like a time in milliseconds.
    Inverse propensities are usually clipped when the data is prepared.
    """
    for name, weight in data.train.weights.items():
        if weight.problem or weight.rows < MIN_ROWS:
            continue
        if weight.effective < FEW * weight.rows:
            yield Finding(
                data.at_task(name, "sample_weight"),
                f"{data.train.name}: by the weights of `{name}`, {weight.rows:,} rows are worth "
                f"only {weight.effective:,.0f} of equal weight",
                label="a few rows weigh most",
                help="check the column, or clip the weights when you prepare the data",
            )
