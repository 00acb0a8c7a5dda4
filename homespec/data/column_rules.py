"""HS501, HS502, HS506, HS507 and HS513: what columns of any kind hold.

The thresholds are homespec's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from homespec.data.number_rules import unscaled
from homespec.data.profiled import ProfiledData, share
from homespec.diagnostics import Finding, Severity, rule
from homespec.schema.fitted_columns import fitted_columns
from homespec.schema.labels import BARE

if TYPE_CHECKING:
    from homespec.data.profile import Profile

MOSTLY = 0.5
"""Share of missing values above which they are reported."""
REPEATED = 0.01
"""Share of repeated rows below which they are not reported."""
MIN_IDS = 1000
"""A column with more distinct ids than this contains users or items."""


@rule("HS501", "missing-column")
def missing_column(data: ProfiledData) -> Iterator[Finding]:
    """A column that the spec needs is not in the data.

    A feature reads the column of its name, or the one that `column` names; a task reads the columns
    of its `label`, its `sample_weight` and `within`. Correct the name, or add the column when you
    prepare the data.

    Bad, where the files have `duration_ms`:

    ```yaml
    features:
      duration: {bucketize: [5000, 10000], dim: 4}
    ```

    Good:

    ```yaml
    features:
      duration: {column: duration_ms, bucketize: [5000, 10000], dim: 4}
    ```
    """
    for part in data.profiles:
        wanted = [(f.tensor.column, data.at_column(f.tensor)) for f in part.features.values()]
        of_labels = {column for task in part.tasks.values() for column in task.columns}
        for name, task in part.tasks.items():
            columns = [column for column in part.missing if column in task.columns]
            wanted += [(column, data.at_task(name, "label")) for column in columns]
        for name, weight in part.weights.items():
            wanted.append((weight.column, data.at_task(name, "sample_weight")))
        if part.sessions is not None:
            wanted.append((part.sessions.column, data.at_task(data.tasks_within[0], "within")))
        for column, span in wanted:
            if column in part.missing:
                close = part.missing[column]
                yield Finding(
                    span,
                    f"{part.name} has no column `{column}`",
                    label="not in the data",
                    help=_meant(close, column in of_labels)
                    if close
                    else "name the column that holds it, or add it when you prepare the data",
                )


def _meant(close: str, of_label: bool) -> str:
    remedy = f"did you mean `{close}`?"
    if of_label and not BARE.fullmatch(close):
        remedy += f" In a label, write such a name in backticks: '`{close}`'"
    return remedy


@rule("HS502", "unusable-column")
def unusable_column(data: ProfiledData) -> Iterator[Finding]:
    """A column is not of the kind that the spec expects.

    Ids are whole numbers or text. A float of 2**53 or more is refused, because it may stand for
    several whole numbers. Numbers are numbers, or text that spells them. Vectors are lists of as
    many numbers as the spec says (a list of one may be a plain number). Sequences are lists, of the
    same length for all fields of a sequence. The files of one source agree on the types of their
    columns. A column needs at least one finite number for its quantiles to be fitted. If a value is
    at fault, the message names the first row that has one, counted from 0 in its file. Prepare the
    column again, or declare the feature as the kind that it is.

    Bad, where `score` holds 0.25 or 0.5:

    ```yaml
    features:
      score: {id: {buckets: 100}, dim: 4}
    ```

    Good:

    ```yaml
    features:
      score: {bucketize: [0.25, 0.5, 0.75], dim: 4}
    ```
    """
    for part in data.profiles:
        features = [(f.problem, data.at_column(f.tensor)) for f in part.features.values()]
        tasks = [(t.problem, data.at_task(name, "label")) for name, t in part.tasks.items()]
        if part.sessions is not None:
            tasks.append((part.sessions.problem, data.at_task(data.tasks_within[0], "within")))
        for problem, span in (*features, *tasks):
            if problem not in ("", "missing"):
                yield Finding(
                    span,
                    problem,
                    label="cannot serve",
                    help="change the column when you prepare the data, or declare its kind",
                )
    for name, fit in fitted_columns(data.spec).items():
        feature = data.train.features[name]
        if feature.rows and not (feature.problem or feature.finite):
            yield Finding(
                data.at_column(feature.tensor),
                f"{data.train.name}: `{fit.column}` holds no finite number, so {fit.quantiles}"
                " quantiles cannot be fitted",
                label="cannot serve",
                help="give boundaries, or check how the column is made",
            )


@rule("HS506", "constant-column", Severity.WARNING)
def constant_column(data: ProfiledData) -> Iterator[Finding]:
    """A feature has the same value in every row, or none in any.

    It gives the model no information and costs an embedding. Usually a join failed, or a default
    was written instead of the values. A column that is constant only in the held-out rows is just
    as wrong: the model meets there a value that it has hardly seen.
    """
    for part, feature in data.features():
        if feature.constant and feature.tensor.name not in unscaled(data):
            what = (
                "has no value in any row"
                if feature.values == 0
                else f"is {feature.low:g} in every row"
                if feature.tensor.kind != "id"
                else "has one id in every row"
            )
            yield Finding(
                data.at_column(feature.tensor),
                f"{part.name}: `{feature.tensor.column}` {what}",
                label="no information",
                help="check how the column is made, or remove"
                f" {'`weights`' if feature.tensor.kind == 'weight' else 'the feature'}",
            )


@rule("HS507", "mostly-missing", Severity.WARNING)
def mostly_missing(data: ProfiledData) -> Iterator[Finding]:
    """A feature or a label is missing in more than half of the rows.

    Missing values have a meaning to the model (a bucket of their own), so this may be correct, but
    often a join has lost rows. A sequence is missing if it has no events, and a vector if all of
    its numbers are missing. A label that is mostly missing leaves few rows for its task.
    """
    for part, feature in data.features():
        if feature.absent > MOSTLY * feature.rows and feature.values:
            yield Finding(
                data.at_column(feature.tensor),
                f"{part.name}: `{feature.tensor.column}` is missing in"
                f" {share(feature.absent, feature.rows)} rows",
                label="mostly missing",
                help="check how the column is joined",
            )
    for part, name, task in data.tasks():
        if task.missing > MOSTLY * task.rows:
            yield Finding(
                data.at_task(name, "label"),
                f"{part.name}: the label of `{name}` is missing in"
                f" {share(task.missing, task.rows)} rows",
                label="mostly missing",
                help="check how the label is made",
            )


@rule("HS513", "repeated-rows", Severity.WARNING)
def repeated_rows(data: ProfiledData) -> Iterator[Finding]:
    """More than a hundredth of the rows repeat another one.

    Rows are compared in all features (sequences by their lengths) and labels of the spec. Logs
    repeat impressions when events are sent twice. The repetitions count double in training, and
    they leak if they fall on both sides of a split. A table without user or item ids, such as the
    answers of a survey, may contain identical rows for good reason: ignore this rule with a reason.
    The rule is silent while a column is missing or cannot be read.
    """
    for part in data.profiles:
        if part.duplicates > REPEATED * part.rows and part.readable:
            yield Finding(
                data.document.span(("features",), key=True),
                f"{part.name}: {share(part.duplicates, part.rows)} rows repeat another one in "
                "every column that the spec reads",
                label="equal in these columns and in the labels",
                help="remove the repetitions when you prepare the data"
                if _identified(part)
                else "add a column that distinguishes rows, or ignore this rule if different "
                "cases may look the same",
            )


def _identified(part: Profile) -> bool:
    """Whether a column has enough ids for users or items."""
    return any(
        len(feature.distinct) > MIN_IDS
        for feature in part.features.values()
        if feature.tensor.kind == "id" and not feature.tensor.length
    )
