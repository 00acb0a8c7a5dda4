"""HS503, HS505, HS508, HS509, HS511 and HS516: the values of labels.

The thresholds are homespec's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from homespec.data.profiled import ProfiledData, share
from homespec.diagnostics import Finding, Severity, rule

if TYPE_CHECKING:
    from homespec.data.profile import TaskProfile

FACTOR = 1.5
"""Rates that differ by a smaller factor count as equal."""
ERRORS = 4.0
"""Rates that differ by fewer standard errors also count as equal."""
LARGE = {"squared": 3.0, "absolute": 10.0, "huber": 10.0}
"""By loss: root mean square of regression labels, in units of `scale`, above which they are on
another scale. The loss is then about ten times that of a label of 0 and 1."""
SMALL = 0.1
"""Standard deviation of labels, in the same units, below which they also are."""
FAR = 10.0
"""Distance of the mean from 0, in standard deviations, above which it should be subtracted."""


@rule("HS503", "label-not-binary")
def label_not_binary(data: ProfiledData) -> Iterator[Finding]:
    """A label is neither 0 nor 1, or the number of a regression is infinite.

    Training refuses such a file. Turn a count or a time into a label by a comparison, or use the
    number itself as the label of a regression. A missing label (null or NaN; in CSV, an empty cell)
    is fine: the row does not count for the task. If -1 means that a label was not observed, write
    `unknown: -1`.

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
                help=_binary(task, regression),
            )


def _binary(task: TaskProfile, regression: bool) -> str:
    null = "null (in CSV an empty cell)"
    if regression:
        return f"write {null} if the label is not known"
    if task.wrong_example < 0:
        return (
            f"if {task.wrong_example:g} means that the label is not known, write"
            f" `unknown: {task.wrong_example:g}` in the spec, or {null} in the data"
        )
    return f"write `label: {task.label} > 0`, or `kind: regression` if the number itself is meant"


@rule("HS505", "child-without-parent", Severity.WARNING)
def child_without_parent(data: ProfiledData) -> Iterator[Finding]:
    """A label is 1 in rows where the label that it depends on is 0.

    A task with `where: click` learns only from clicked rows, so it never sees a purchase without a
    click. A product of tasks implies that its label is never 1 unless those of its factors are.
    Such rows come from delayed joins, from other ways to reach the same action, or from an
    assumption that does not hold. Fix the labels, or drop `where`.
    """
    for part, name, task in data.tasks():
        for parent, count in task.orphans.items():
            if count:
                yield Finding(
                    data.at_task(name, "where", "product"),
                    f"{part.name}: `{name}` is 1 but `{parent}` is 0 in {share(count, task.rows)}"
                    " rows",
                    label=f"presupposes `{parent}`",
                    help="fix the labels, or remove this condition from the task",
                )


@rule("HS508", "rate-differs", Severity.WARNING)
def rate_differs(data: ProfiledData) -> Iterator[Finding]:
    """The rate of a label differs from the one that the spec expects.

    `rate` sets the initial bias of the task's tower and is used by the design rules. This warning
    appears if the rate in the training rows (in the task's sample space) differs from it by more
    than a factor of 1.5 in either direction, and by more than four standard errors. A large
    difference often means that the label is not the intended one.
    """
    for name, task in data.train.tasks.items():
        expected = data.spec.tasks[name].rate
        if expected and not task.problem and _differ(task.rate, task.samples, expected, math.inf):
            yield Finding(
                data.at_task(name, "rate"),
                f"{data.train.name}: the rate of `{name}` is {task.rate:.2g}, not {expected:g}",
                label=f"{task.rate:.2g} in the data",
                help=f"write `rate: {task.rate:.2g}`, or check the label",
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

    One class leaves nothing to learn and no AUC to measure. Either the label is not logged, or it
    is joined incorrectly, or it is so rare that these files hold no positive row. In the last case,
    use more days.
    """
    for part, name, task in data.tasks():
        parent = part.tasks.get(data.spec.tasks[name].where, task)
        if task.low >= task.high and not (task.wrong or parent.wrong or parent.problem):
            weighed = ", or the row's weight is 0" * bool(data.spec.tasks[name].sample_weight)
            never = f"never known{weighed}"
            what = f"{task.low:g} in all {task.samples:,} rows" if task.samples else never
            yield Finding(
                data.at_task(name, "label"),
                f"{part.name}: the label of `{name}` is {what}"
                + (" of its sample space" if data.spec.tasks[name].where else ""),
                label="one class",
                help="check how the label is made, or use more rows",
            )


@rule("HS511", "rate-shift", Severity.WARNING)
def rate_shift(data: ProfiledData) -> Iterator[Finding]:
    """The rate of a label differs between the training rows and the held-out rows.

    This warning appears for a difference by more than a factor of 1.5 in either direction, and by
    more than four standard errors. The predictions will be off by as much: calibration suffers,
    though AUC may not. The usual reasons are days that differ, another mixture of scenes, or labels
    that are not complete yet (the last days of a log lack delayed actions).
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
                help="check whether both labels are complete and from the same population",
            )


@rule("HS516", "regression-scale", Severity.WARNING)
def regression_scale(data: ProfiledData) -> Iterator[Finding]:
    """The label of a regression is on another scale than the losses of the other tasks.

    A regression is trained on its label in units of `scale`. The squared loss of labels around
    10,000 starts at 10⁸, whereas that of a click starts at 0.69. The shared experts then learn
    nothing but the regression. Labels around 0.01, in contrast, hardly count. This warning appears
    if, in units of `scale`, the training labels are larger than 3 (root mean square; 10 for the
    absolute and the Huber loss) or spread less than 0.1 (standard deviation). A `scale` of about
    the standard deviation fixes that.

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
        if not usable or task.low == task.high:  # no scale exists; HS509 reports it
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
                help=_scale(task, LARGE[about.loss]),
            )


def _scale(task: TaskProfile, large: float) -> str:
    unit = float(f"{task.deviation:.1g}")
    if abs(task.rate) > FAR * task.deviation:
        return f"subtract {task.rate:.4g} when you prepare the data, and {_write(unit)}"
    size = math.hypot(task.rate, task.deviation)
    return _write(unit if size <= large * unit else size)


def _write(scale: float) -> str:
    return f"write `scale: {Decimal(f'{scale:.1g}'):f}`"
