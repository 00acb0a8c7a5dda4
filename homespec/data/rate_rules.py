"""HS508 to HS513: rates, lengths and what differs between the parts of the data.

Thresholds are homespec's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from homespec.data.profiled import ProfiledData, share
from homespec.diagnostics import Finding, Severity, rule

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


@rule("HS508", "rate-differs", Severity.WARNING)
def rate_differs(data: ProfiledData) -> Iterator[Finding]:
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
def one_class(data: ProfiledData) -> Iterator[Finding]:
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
def cut_sequences(data: ProfiledData) -> Iterator[Finding]:
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
def rate_shift(data: ProfiledData) -> Iterator[Finding]:
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
def unseen_ids(data: ProfiledData) -> Iterator[Finding]:
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
def repeated_rows(data: ProfiledData) -> Iterator[Finding]:
    """More than a hundredth of the rows repeat another one.

    Rows are compared in all features (sequences by their lengths) and labels of the spec. Logs
    repeat impressions when events are sent twice; the repetitions count double in training, and
    where they fall on both sides of a split they leak. A spec of few features may see rows as
    equal that are not. Nothing is said while a column is missing or cannot be read.
    """
    for part in data.profiles:
        if part.duplicates > REPEATED * part.rows and part.readable:
            yield Finding(
                data.document.span(("features",), key=True),
                f"{part.name}: {share(part.duplicates, part.rows)} rows repeat another one in all"
                " that the spec reads",
                label="equal in these and in the labels",
                help="remove the repetitions when you prepare the data",
            )
