"""HS517, HS520 and HS521: values that are fitted to numbers.

The thresholds are homespec's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from homespec.data.profiled import ProfiledData
from homespec.diagnostics import Finding, Severity, rule


def unscaled(data: ProfiledData) -> list[str]:
    """The numbers that cannot be scaled."""
    return [name for name, scaled in data.train.scaled.items() if scaled.problem]


@rule("HS520", "unscaled-number")
def unscaled_number(data: ProfiledData) -> Iterator[Finding]:
    """A number cannot be scaled: its column holds no number, or the same one in every row.

    Scaling divides by the spread of the training numbers: their standard deviation, or their range.
    If the spread is 0, there is nothing to divide by, and any other number that comes later would
    be too large for the model. `train` refuses such a column as well. Check how the column is made,
    or remove the feature.

    Bad, where `price` is 0 in every row:

    ```yaml
    features:
      price: {number: {scale: log}}
    ```

    Good:

    ```yaml
    features:
      price: {number: {scale: none}}
    ```
    """
    for name in unscaled(data):
        feature = data.train.features[name]
        if not feature.problem and feature.rows:
            what, _, remedy = data.train.scaled[name].problem.partition(": ")
            yield Finding(
                data.at_column(feature.tensor),
                f"{data.train.name}: `{feature.tensor.column}` {what}",
                label="no scale",
                help=remedy,
            )


FAR = 50
"""Standard deviations from the mean above which a number is an outlier."""


@rule("HS521", "far-number", Severity.WARNING)
def far_number(data: ProfiledData) -> Iterator[Finding]:
    """A number is scaled as `standard` or `minmax`, and some rows are far from all others.

    Such rows, more than 50 standard deviations from the mean, reach the model as numbers that dwarf
    every other input, and they squeeze the rest of the column into a small range. Counts, prices
    and durations often look like this. `scale: log` brings them closer together. Buckets are not
    affected either.

    Bad, where most rows hold less than 100, and one 10,000,000:

    ```yaml
    features:
      followers: {number: {scale: standard}}
    ```

    Good:

    ```yaml
    features:
      followers: {number: {scale: log}}
    ```
    """
    for name, scaled in data.train.scaled.items():
        if scaled.scale != "log" and scaled.deviations > FAR:
            tensor = data.train.features[name].tensor
            yield Finding(
                data.at_column(tensor),
                f"{data.train.name}: `{tensor.column}` holds {scaled.farthest:g},"
                f" {scaled.deviations:,.0f} standard deviations from the mean",
                label="squeezed by a few rows",
                help="write `scale: log`, or `bucketize: {quantiles: 32}` with a `dim`",
            )


@rule("HS517", "equal-boundaries", Severity.NOTE)
def equal_boundaries(data: ProfiledData) -> Iterator[Finding]:
    """`quantiles` asks for more buckets than the column has different numbers.

    Each bucket begins at a number of the column, so there cannot be more buckets than different
    numbers. The remaining boundaries repeat the last one, and the rows of the table between them
    are never looked up and never learn. This note appears if more than half of the boundaries
    repeat.

    Bad, where the column holds 0, 1, 2 and 3:

    ```yaml
    features:
      stars: {bucketize: {quantiles: 32}, dim: 8}
    ```

    Good:

    ```yaml
    features:
      stars: {bucketize: {quantiles: 4}, dim: 8}
    ```
    """
    for name, fitted in data.train.fitted.items():
        asked = len(fitted.boundaries)
        if 2 * fitted.distinct < asked and fitted.numbers.min() < fitted.numbers.max():
            buckets = max(2, fitted.distinct + 1)
            yield Finding(
                data.at_column(data.train.features[name].tensor),
                f"{data.train.name}: `{name}` has {buckets} different numbers, too few for"
                f" {asked + 1} quantiles",
                label=f"{fitted.distinct} of {asked} boundaries differ",
                help=f"write `quantiles: {buckets}`",
            )
