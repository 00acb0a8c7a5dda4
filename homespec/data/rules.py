"""HS5xx: what `homespec check-data` finds in the files of a spec; from profiles, without pyarrow.

Thresholds are homespec's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homespec.diagnostics import Diagnostic, Finding, Severity, Span, rule
from homespec.schema.models import Spec
from homespec.source import Document

if TYPE_CHECKING:
    from homespec.data.profile import FeatureProfile, Profile, TaskProfile

MOSTLY = 0.5
"""Share of missing values that is worth a word."""
FACTOR = 1.5
"""Rates that differ by less, either way, are taken for the same."""
ERRORS = 4.0
"""So are rates that differ by fewer standard errors."""
CUT = 0.1
"""Share of rows whose sequences may be cut without a word."""
UNSEEN = 0.1
"""Share of held-out ids that may be new without a word."""
REPEATED = 0.01
"""Share of rows that may be repetitions without a word."""


@dataclass(frozen=True)
class Data:
    """A spec and what its files hold."""

    spec: Spec
    document: Document
    train: Profile
    valid: Profile | None = None

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Both parts, or the one."""
        return (self.train,) if self.valid is None else (self.train, self.valid)

    def features(self) -> Iterator[tuple[Profile, FeatureProfile]]:
        """Each column of a feature that can be read, with where it is."""
        for part in self.profiles:
            for feature in part.features.values():
                if not feature.problem and feature.rows:
                    yield part, feature

    def tasks(self) -> Iterator[tuple[Profile, str, TaskProfile]]:
        """Each task whose label can be read, with where it is."""
        for part in self.profiles:
            for name, task in part.tasks.items():
                if not task.problem and task.rows:
                    yield part, name, task

    def at_feature(self, feature: FeatureProfile) -> Span:
        """The place of a feature in the spec: its column, if it is given."""
        return self._at("features", feature.tensor.feature, "column")

    def at_task(self, task: str, *keys: str) -> Span:
        """The place of a task in the spec: the first of `keys` that is given, else its name."""
        return self._at("tasks", task, *keys)

    def _at(self, section: str, name: str, *keys: str) -> Span:
        for key in keys:
            if self.document.has((section, name, key)):
                return self.document.span((section, name, key))
        return self.document.span((section, name), key=True)


def check(data: Data) -> list[Diagnostic]:
    """All that there is to say about the data."""
    rules = (
        missing_column, unusable_column, label_not_binary, unknown_ids, child_without_parent,
        constant_column, mostly_missing, rate_differs, one_class, cut_sequences, rate_shift,
        unseen_ids, repeated_rows,
    )  # fmt: skip
    return [diagnostic for one in rules for diagnostic in one(data)]


def share(part: float, whole: float) -> str:
    """A share in words: `12 of 9,000 (0.13%)`."""
    percent = 100 * part / whole
    digits = 0 if percent >= 10 else 1 if percent >= 1 else 2
    return f"{part:,} of {whole:,} ({percent:.{digits}f}%)"


@rule("HS501", "missing-column")
def missing_column(data: Data) -> Iterator[Finding]:
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
def unusable_column(data: Data) -> Iterator[Finding]:
    """A column is not of the kind that the spec takes it for.

    Ids are whole numbers or text, numbers are numbers (or text that spells them), vectors are lists
    of as many numbers as the spec says, sequences are lists, of one length for all fields of a
    sequence; files of one source agree on the types of their columns. Prepare the column anew, or
    declare the feature as what it is.

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
                    help="prepare the column anew, or say in the spec what it is",
                )


@rule("HS503", "label-not-binary")
def label_not_binary(data: Data) -> Iterator[Finding]:
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
def unknown_ids(data: Data) -> Iterator[Finding]:
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
                help=f"the largest is {feature.high:.0f}: write `vocab: {int(feature.high) + 1}`"
                if vocab <= feature.high < 10 * vocab
                else "use `buckets` to hash them, or number them anew",
            )


@rule("HS505", "child-without-parent", Severity.WARNING)
def child_without_parent(data: Data) -> Iterator[Finding]:
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
def constant_column(data: Data) -> Iterator[Finding]:
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
def mostly_missing(data: Data) -> Iterator[Finding]:
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


@rule("HS508", "rate-differs", Severity.WARNING)
def rate_differs(data: Data) -> Iterator[Finding]:
    """The rate of a label is not the one that the spec expects.

    `rate` starts the bias of the task's tower and drives the design lint. It is reported where the
    rate in the rows to train on (in the task's sample space) differs from it by more than half
    (factor 1.5), either way, and by more than four standard errors. A large difference often means
    another label than the one that was meant.
    """
    for name, task in data.train.tasks.items():
        expected = data.spec.tasks[name].rate
        if expected and not task.problem and _differ(task.rate, task.samples, expected, math.inf):
            yield Finding(
                data.at_task(name, "rate"),
                f"{data.train.name}: the rate of `{name}` is {task.rate:.2g}, not {expected:g}",
                label=f"{task.rate:.2g} in the data",
                help=f"write `rate: {task.rate:.2g}`, or look at the label",
            )


def _differ(one: float, rows: float, other: float, other_rows: float) -> bool:
    """Whether two rates differ by a factor and by more than chance explains."""
    if not (rows and other_rows) or math.isnan(one) or math.isnan(other):
        return False
    low, high = sorted((one, other))
    weight = 0.0 if math.isinf(other_rows) else rows / (rows + other_rows)
    mean = other if weight == 0.0 else weight * one + (1 - weight) * other
    error = math.sqrt(mean * (1 - mean) * (1 / rows + 1 / other_rows))
    return high > FACTOR * low and high - low > ERRORS * error


@rule("HS509", "one-class", Severity.WARNING)
def one_class(data: Data) -> Iterator[Finding]:
    """A label is the same in all rows in which it is known.

    There is nothing to learn from one class, and no AUC to measure. The label is not logged, is
    joined wrongly, or so rare that these files hold no positive row: then take more days.
    """
    for part, name, task in data.tasks():
        parent = part.tasks.get(data.spec.tasks[name].where, task)
        if task.low >= task.high and not (task.wrong or parent.wrong or parent.problem):
            what = f"{task.low:g} in all {task.samples:,} rows" if task.samples else "never known"
            yield Finding(
                data.at_task(name, "label"),
                f"{part.name}: the label of `{name}` is {what}"
                + (" of its sample space" if data.spec.tasks[name].where else ""),
                label="one class",
                help="look at how the label is made, or take more rows",
            )


@rule("HS510", "cut-sequences", Severity.WARNING)
def cut_sequences(data: Data) -> Iterator[Finding]:
    """More than a tenth of the rows have more events than the sequence keeps.

    The latest events are kept, the earlier ones are cut off. That may be meant, for speed; if not,
    a longer sequence sees more, at a cost in proportion.
    """
    for part, feature in data.features():
        if feature.cut > CUT * feature.rows:
            yield Finding(
                data.at_feature(feature),
                f"{part.name}: {share(feature.cut, feature.rows)} rows have more than"
                f" {feature.tensor.length} events in `{feature.tensor.column}`, up to"
                f" {feature.longest:,}",
                label="cut",
                help="keep more events, or ignore this rule if it is meant",
            )


@rule("HS511", "rate-shift", Severity.WARNING)
def rate_shift(data: Data) -> Iterator[Finding]:
    """The rate of a label differs between the rows to train on and those held out.

    Reported for a difference by more than half (factor 1.5), either way, and by more than four
    standard errors. The predictions will be off by as much (calibration suffers, AUC may not).
    Days that differ, another mixture of scenes, or labels that are not complete yet (the last days
    of a log lack delayed acts) are the usual reasons.
    """
    if data.valid is None:
        return
    for name, train in data.train.tasks.items():
        valid = data.valid.tasks[name]
        if train.problem or valid.problem or data.spec.tasks[name].kind != "binary":
            continue
        if _differ(train.rate, train.samples, valid.rate, valid.samples):
            yield Finding(
                data.at_task(name, "label"),
                f"the rate of `{name}` is {train.rate:.2g} in {data.train.name} and"
                f" {valid.rate:.2g} in {data.valid.name}",
                label="another rate",
                help="look whether the labels of both are complete and of one population",
            )


@rule("HS512", "unseen-ids", Severity.WARNING)
def unseen_ids(data: Data) -> Iterator[Finding]:
    """More than a tenth of the held-out ids do not occur in the rows to train on.

    Their embeddings are as they were at the start, so the feature says nothing there, or noise. For
    new users or videos that is the nature of the thing, and other features have to carry them; it
    may also be that ids are written in another way, such as text in one file and numbers in the
    other.
    """
    if data.valid is None:
        return
    for feature in data.valid.features.values():
        if not feature.problem and feature.unseen > UNSEEN * feature.values:
            yield Finding(
                data.at_feature(feature),
                f"{data.valid.name}: {share(feature.unseen, feature.values)} ids of"
                f" `{feature.tensor.column}` do not occur in {data.train.name}",
                label="unseen",
                help="look whether both are written alike; if they are, other features must help",
            )


@rule("HS513", "repeated-rows", Severity.WARNING)
def repeated_rows(data: Data) -> Iterator[Finding]:
    """More than a hundredth of the rows repeat another one.

    Rows are compared in all features (sequences by their lengths) and labels of the spec. Logs
    repeat impressions when events are sent twice; the repetitions count double in training, and
    where they fall on both sides of a split they leak. A spec of few features may see rows as
    equal that are not.
    """
    for part in data.profiles:
        if part.duplicates > REPEATED * part.rows:
            yield Finding(
                data.document.span(("features",), key=True),
                f"{part.name}: {share(part.duplicates, part.rows)} rows repeat another one in all"
                " that the spec reads",
                label="equal in these and in the labels",
                help="remove the repetitions when you prepare the data",
            )
