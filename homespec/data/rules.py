"""HS501 to HS507: columns that are missing, unusable or empty of meaning; and all rules in a row.

They see profiles of the files, so pyarrow is not needed to explain them. Thresholds are homespec's
own.
"""

from __future__ import annotations

from collections.abc import Iterator

from homespec.data.id_rules import patterned_ids, shared_rows
from homespec.data.profiled import ProfiledData, share
from homespec.data.rate_rules import (
    cut_sequences,
    one_class,
    rate_differs,
    rate_shift,
    repeated_rows,
    unseen_ids,
)
from homespec.data.shape_rules import (
    equal_boundaries,
    padded_sequence,
    regression_scale,
    unsplit_lists,
)
from homespec.diagnostics import Diagnostic, Finding, Severity, rule
from homespec.schema.fitted_columns import asked

MOSTLY = 0.5
"""Share of missing values that is worth a word."""


def check(data: ProfiledData) -> list[Diagnostic]:
    """All that there is to say about the data."""
    rules = (
        missing_column, unusable_column, label_not_binary, unknown_ids, child_without_parent,
        constant_column, mostly_missing, rate_differs, one_class, cut_sequences, rate_shift,
        unseen_ids, repeated_rows, patterned_ids, shared_rows, regression_scale, equal_boundaries,
        padded_sequence, unsplit_lists,
    )  # fmt: skip
    return [diagnostic for one in rules for diagnostic in one(data)]


@rule("HS501", "missing-column")
def missing_column(data: ProfiledData) -> Iterator[Finding]:
    """A column that the spec needs is not in the data.

    A feature reads the column of its name, or the one that `column` names; a task reads the columns
    of its `label`. Mend the name, or add the column when you prepare the data.

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
        wanted = [(f.tensor.column, data.at_feature(f)) for f in part.features.values()]
        for name, task in part.tasks.items():
            columns = [column for column in part.missing if column in task.label.split()]
            wanted += [(column, data.at_task(name, "label")) for column in columns]
        for column, span in wanted:
            if column in part.missing:
                close = part.missing[column]
                yield Finding(
                    span,
                    f"{part.name} has no column `{column}`",
                    label="not in the data",
                    help=f"did you mean `{close}`?"
                    if close
                    else "name the column that holds it, or add it when you prepare the data",
                )


@rule("HS502", "unusable-column")
def unusable_column(data: ProfiledData) -> Iterator[Finding]:
    """A column is not of the kind that the spec takes it for.

    Ids are whole numbers or text (a float of 2**53 and more is several whole numbers at once, so it
    is none); numbers are numbers (or text that spells them), vectors are lists of as many numbers
    as the spec says (one may be a plain number), sequences are lists, of one length for all fields
    of a sequence; files of one source agree on the types of their columns. A column whose quantiles
    are to be fitted holds at least one finite number. Prepare the column again, or declare the
    feature as what it is.

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
        features = [(f.problem, data.at_feature(f)) for f in part.features.values()]
        tasks = [(t.problem, data.at_task(name, "label")) for name, t in part.tasks.items()]
        for problem, span in (*features, *tasks):
            if problem not in ("", "missing"):
                yield Finding(
                    span,
                    f"{part.name}: {problem}",
                    label="cannot serve",
                    help="change the column when you prepare the data, or declare what it is",
                )
    for name, fit in asked(data.spec).items():
        feature = data.train.features[name]
        if feature.rows and not (feature.problem or feature.finite):
            yield Finding(
                data.at_feature(feature),
                f"{data.train.name}: `{fit.column}` holds no finite number, so {fit.quantiles}"
                " quantiles cannot be fitted",
                label="cannot serve",
                help="give boundaries, or look at how the column is made",
            )


@rule("HS503", "label-not-binary")
def label_not_binary(data: ProfiledData) -> Iterator[Finding]:
    """A label is neither 0 nor 1, or the number of a regression is infinite.

    Training refuses such a file. A count or a time becomes a label by a comparison; the number
    itself is the label of a regression. A missing label (null or NaN) is fine: the row does not
    count for the task.

    Bad, where the column holds milliseconds:

    ```yaml
    tasks:
      comment_stay: {label: comment_stay_time}
    ```

    Good:

    ```yaml
    tasks:
      comment_stay: {label: comment_stay_time > 0}
    ```
    """
    for part, name, task in data.tasks():
        if task.wrong:
            regression = data.spec.tasks[name].kind == "regression"
            what = "infinite" if regression else f"{task.wrong_example:g}, not 0 or 1,"
            yield Finding(
                data.at_task(name, "label"),
                f"{part.name}: the label of `{name}` is {what} in {share(task.wrong, task.rows)}"
                " rows",
                label="infinite" if regression else "not 0 or 1",
                help="write null where the label is not known"
                if regression
                else f"write `label: {task.label} > 0`, or `kind: regression` if the number itself"
                " is meant",
            )


@rule("HS504", "unknown-ids", Severity.WARNING)
def unknown_ids(data: ProfiledData) -> Iterator[Finding]:
    """Ids lie beyond the vocabulary.

    `vocab: n` takes ids 0 to n - 1; all others share one row of the table with missing ids, so the
    model cannot tell them apart. Give a larger `vocab`, or `buckets` to hash any id; number the ids
    anew if they are few but large.

    Bad, where `tab` reaches 14:

    ```yaml
    features:
      tab: {id: {vocab: 10}, dim: 4}
    ```

    Good:

    ```yaml
    features:
      tab: {id: {vocab: 15}, dim: 4}
    ```
    """
    for part, feature in data.features():
        vocab = feature.tensor.vocab
        if feature.unknown:
            name = feature.tensor.feature
            yield Finding(
                data.document.span(("features", name, "id", "vocab")),
                f"{part.name}: {share(feature.unknown, feature.values)} ids of"
                f" `{feature.tensor.column}` are beyond the vocabulary, such as"
                f" {feature.unknown_example}",
                label=f"ids 0 to {vocab - 1}",
                help=f"the largest is {feature.high}: write `vocab: {int(feature.high) + 1}`"
                if vocab <= feature.high < 10 * vocab
                else "use `buckets` to hash them, or number them anew",
            )


@rule("HS505", "child-without-parent", Severity.WARNING)
def child_without_parent(data: ProfiledData) -> Iterator[Finding]:
    """A label is 1 in rows in which the label that it presupposes is 0.

    A task with `where: click` learns from clicked rows alone, so a purchase without a click is lost
    to it; a product of tasks says that its label is never 1 without those of its factors. Such rows
    come from delayed joins, from other ways to the same act, or from a presupposition that does not
    hold: mend the labels or drop `where`.
    """
    for part, name, task in data.tasks():
        for parent, count in task.orphans.items():
            if count:
                yield Finding(
                    data.at_task(name, "where", "product"),
                    f"{part.name}: `{name}` is 1 but `{parent}` is 0 in {share(count, task.rows)}"
                    " rows",
                    label=f"presupposes `{parent}`",
                    help="mend the labels, or let the task do without this condition",
                )


@rule("HS506", "constant-column", Severity.WARNING)
def constant_column(data: ProfiledData) -> Iterator[Finding]:
    """A feature has the same value in every row, or none in any.

    It tells the model nothing and costs an embedding. Mostly a join has failed or a default was
    written in place of the values. A constant in the held-out rows alone is as wrong: the model
    meets there what it has hardly seen.
    """
    for part, feature in data.features():
        if feature.constant:
            what = (
                "has no value in any row"
                if feature.values == 0
                else f"is {feature.low:g} in every row"
                if feature.tensor.kind != "id"
                else "has one id in every row"
            )
            yield Finding(
                data.at_feature(feature),
                f"{part.name}: `{feature.tensor.column}` {what}",
                label="tells nothing",
                help="look at how the column is made, or remove the feature",
            )


@rule("HS507", "mostly-missing", Severity.WARNING)
def mostly_missing(data: ProfiledData) -> Iterator[Finding]:
    """A feature or a label is missing in more than half of the rows.

    Missing values have a meaning to the model (a bucket of their own), so this may be right; often
    a join has lost rows. A sequence is missing where it has no events, a vector where all of its
    numbers are missing. A label that is mostly missing leaves its task few rows.
    """
    for part, feature in data.features():
        if feature.absent > MOSTLY * feature.rows and feature.values:
            yield Finding(
                data.at_feature(feature),
                f"{part.name}: `{feature.tensor.column}` is missing in"
                f" {share(feature.absent, feature.rows)} rows",
                label="mostly missing",
                help="look at how the column is joined",
            )
    for part, name, task in data.tasks():
        if task.missing > MOSTLY * task.rows:
            yield Finding(
                data.at_task(name, "label"),
                f"{part.name}: the label of `{name}` is missing in"
                f" {share(task.missing, task.rows)} rows",
                label="mostly missing",
                help="look at how the label is made",
            )
