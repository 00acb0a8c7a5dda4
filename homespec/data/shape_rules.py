"""HS516 to HS519: numbers on another scale than losses and buckets want, and odd lists.

Thresholds are homespec's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from homespec.data.profiled import ProfiledData, share
from homespec.diagnostics import Finding, Severity, rule

if TYPE_CHECKING:
    from homespec.data.fits import Boundaries
    from homespec.data.list_profile import ListProfile
    from homespec.data.profile import FeatureProfile, Profile, TaskProfile

LARGE = {"squared": 3.0, "absolute": 10.0, "huber": 10.0}
"""Labels of a regression that are larger, in units of its scale, are on another scale: by its loss,
which is then about ten times that of a label of 0 and 1."""
SMALL = 0.1
"""So are labels that spread less."""
FAR = 10.0
"""Labels whose mean is so many standard deviations from 0 should have it subtracted."""


@rule("HS516", "regression-scale", Severity.WARNING)
def regression_scale(data: ProfiledData) -> Iterator[Finding]:
    """The label of a regression is on another scale than the losses of the other tasks.

    A regression is trained on its label in units of `scale`. The squared loss of labels around
    10,000 starts at 10⁸ where that of a click starts at 0.69, so the shared experts learn nothing
    but the regression; labels around 0.01 hardly count. Reported where, in units of `scale`, the
    labels of the rows to train on are larger than 3 (root mean square; 10 for the absolute and the
    Huber loss) or spread less than 0.1 (standard deviation). A `scale` of about the standard
    deviation puts that right.

    Bad, where the label is in milliseconds:

    ```yaml
    tasks:
      watch_time: {kind: regression, label: play_time_ms}
    ```

    Good, in units of 30 seconds:

    ```yaml
    tasks:
      watch_time: {kind: regression, label: play_time_ms, scale: 30000}
    ```
    """
    for name, task in data.train.tasks.items():
        about = data.spec.tasks[name]
        usable = about.kind == "regression" and task.samples and not (task.problem or task.wrong)
        if not usable or task.low == task.high:  # nothing to scale by; HS509 says so
            continue
        size = (task.rate**2 + task.deviation**2) ** 0.5
        if size > LARGE[about.loss] * about.scale or task.deviation < SMALL * about.scale:
            spread = task.deviation / about.scale
            yield Finding(
                data.at_task(name, "scale", "label"),
                f"{data.train.name}: the label of `{name}` is {task.rate / about.scale:.2g} on"
                f" average and spreads by {spread:.2g}, in units of its scale,"
                f" {about.scale:g}",
                label=f"{task.low:g} to {task.high:g}",
                help=_scale(task),
            )


def _scale(task: TaskProfile) -> str:
    proposed = f"write `scale: {Decimal(f'{task.deviation:.1g}'):f}`"
    if abs(task.rate) > FAR * task.deviation:
        return f"subtract {task.rate:.4g} when you prepare the data, and {proposed}"
    return proposed


@rule("HS517", "equal-boundaries", Severity.WARNING)
def equal_boundaries(data: ProfiledData) -> Iterator[Finding]:
    """Most of the boundaries that `quantiles` fits are equal, so few buckets are left.

    Quantiles cut the rows into equal shares. Where one number fills many of these shares, such as a
    0 in nearly all rows, their boundaries are all that number, and everything else that the column
    says falls into the few buckets that remain. Reported where fewer than half of the boundaries
    differ and a handful of others would cut the numbers finer. Give the boundaries yourself, among
    the numbers that are rare and tell most.

    Bad, where 96 % of the rows hold 0:

    ```yaml
    features:
      followers: {bucketize: {quantiles: 32}, dim: 8}
    ```

    Good:

    ```yaml
    features:
      followers: {bucketize: [1, 10, 100, 1000], dim: 8}
    ```
    """
    for name, fitted in data.train.fitted.items():
        asked = len(fitted.boundaries)
        if 2 * fitted.distinct < asked and fitted.distinct < len(fitted.proposed):
            most, part = fitted.most
            yield Finding(
                data.at_feature(data.train.features[name]),
                f"{data.train.name}: the {asked} boundaries of `{name}` are only"
                f" {fitted.distinct} different {'one' if fitted.distinct == 1 else 'ones'}:"
                f" {part:.0%} of its numbers are {most:g}",
                label=f"{fitted.distinct} of {asked} left",
                help=_boundaries(fitted),
            )


def _boundaries(fitted: Boundaries) -> str:
    shown = list(dict.fromkeys(f"{number:.6g}" for number in fitted.proposed))
    return f"give them: `bucketize: [{', '.join(shown)}]`"


def _lists(data: ProfiledData) -> Iterator[tuple[Profile, FeatureProfile, ListProfile]]:
    for part, feature in data.features():
        if feature.lists and feature.lists.lists:
            yield part, feature, feature.lists


@rule("HS518", "padded-sequence", Severity.WARNING)
def padded_sequence(data: ProfiledData) -> Iterator[Finding]:
    """The lists of a sequence look padded with a value that counts as an event.

    In homespec lists have as many elements as there are events; it pads them itself. An element
    that fills lists up to one length, such as 0, is an event like any other: encoders look it up,
    attend to it and let it push older events out. Reported where a tenth of the lists end, or
    begin, in a repetition of one value that hardly occurs elsewhere in them. Write shorter lists,
    or null in the places that are empty.

    Bad: `[5, 8, 0, 0]`. Good: `[5, 8]` or `[5, 8, null, null]`.
    """
    for part, feature, lists in _lists(data):
        for run in lists.runs:
            if run.padding and not feature.constant:
                where = "end" if run.at_end else "begin"
                yield Finding(
                    data.at_feature(feature),
                    f"{part.name}: {share(run.repeated, run.lists)} lists in"
                    f" `{feature.tensor.column}` {where} in `{run.example[:40]}` repeated, which"
                    f" looks like padding: {share(run.events, feature.values)} events",
                    label="padded",
                    help="write lists without padding, or null in place of it",
                )


@rule("HS519", "unsplit-lists", Severity.WARNING)
def unsplit_lists(data: ProfiledData) -> Iterator[Finding]:
    """Text that should be a list is one event, since nothing in it separates events.

    Text is taken apart at blanks, commas and semicolons; brackets and quotes around are dropped.
    Any other separator becomes part of the event. Reported where nearly all lists (95 %) have one
    element, and such elements hold what looks like a separator in more than a tenth of the lists.

    Bad: `12|7|9`. Good: `12 7 9`, `12,7,9`, `[12, 7, 9]`, or lists in parquet.
    """
    for part, feature, lists in _lists(data):
        if mark := lists.separator:
            inside = lists.separators[mark]
            yield Finding(
                data.at_feature(feature),
                f"{part.name}: {share(lists.single, lists.lists)} lists in"
                f" `{feature.tensor.column}` have one element, {inside.lists:,} of them with"
                f" {mark!r} inside, such as {inside.example[:40]!r}",
                label="one event each",
                help="separate the elements by blanks, commas or semicolons",
            )
