"""HS216 to HS219, HS224 and HS240: tasks related by labels: sample spaces and products."""

from __future__ import annotations

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from homespec.checks.causes import cycle, did_you_mean
from homespec.diagnostics import Finding, rule
from homespec.diagnostics.suggest import listing
from homespec.resolve import Resolved
from homespec.resolve.layers import Path
from homespec.schema.label_parser import CONSTANTS, parse_label
from homespec.schema.labels import Arithmetic
from homespec.schema.models import Spec


def _mentions(spec: Spec) -> Iterator[tuple[str, Path, str]]:
    """(task, place, other task) wherever a task names another one."""
    for name, task in spec.tasks.items():
        if task.where:
            yield name, ("tasks", name, "where"), task.where
        for index, factor in enumerate(task.product):
            yield name, ("tasks", name, "product", index), factor


@rule("HS216", "unknown-task")
def unknown_task(resolved: Resolved) -> Iterator[Finding]:
    """A task names another task that is not declared.

    `where` and `product` refer to tasks by their names under `tasks`, not to columns of the data.
    """
    spec = resolved.spec
    for _, path, other in _mentions(spec):
        if other not in spec.tasks:
            others = [task for task in spec.tasks if task != path[1]]
            yield Finding(
                resolved.span(path),
                f"`{path[1]}` names the task `{other}`, which is not declared",
                label="not declared",
                help=did_you_mean(other, others, f"other tasks are {listing(others)}"),
            )


@rule("HS217", "task-cycle")
def task_cycle(resolved: Resolved) -> Iterator[Finding]:
    """Tasks depend on each other in a cycle.

    A sample space depends on another task's label, and a product on the probabilities of other
    tasks. A task cannot be its own condition or its own factor, not even indirectly.
    """
    spec = resolved.spec
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(spec.tasks, ()))
    places: dict[tuple[str, str], Path] = {}
    for name, path, other in _mentions(spec):
        order.add(name, other)
        places.setdefault((name, other), path)
    try:
        order.prepare()
    except CycleError as error:
        way = _from_first(error.args[1][::-1], list(spec.tasks))
        spans = [resolved.span(places[step]) for step in pairwise(way)]
        yield cycle("tasks", way, spans, "needs", "remove one of these mentions")


def _from_first(cycle: list[str], order: list[str]) -> list[str]:
    """The cycle, which begins and ends with one name, from its first task in the file."""
    start = min(range(len(cycle) - 1), key=lambda i: order.index(cycle[i]))
    return [*cycle[start:-1], *cycle[:start], cycle[start]]


@rule("HS218", "product-task")
def product_task(resolved: Resolved) -> Iterator[Finding]:
    """A product of tasks is declared as if it had a tower, or has unsuitable factors.

    The probability of a product is that of its factors multiplied, as in ESMM: ctcvr = ctr * cvr.
    It has no tower, so it belongs to no group and takes no `tower`, `rate` or `kind`. Its factors
    are binary tasks, each named once.
    """
    spec = resolved.spec
    groups = {member: name for name, group in spec.groups.items() for member in group.members}
    for name, task in spec.tasks.items():
        if not task.product:
            continue
        if name in groups:
            index = spec.groups[groups[name]].members.index(name)
            yield Finding(
                resolved.span(("groups", groups[name], "members", index)),
                f"`{name}` is a product of tasks and cannot be in a group",
                label="a product",
                help=f"remove it from `{groups[name]}`; its factors are in groups",
            )
        for key in ("tower", "rate", "kind", "loss", "scale"):
            if key in task.model_fields_set and (key, task.kind) != ("kind", "binary"):
                yield Finding(
                    resolved.span(("tasks", name, key), key=True),
                    f"`{name}` is a product of tasks, which does not take `{key}`",
                    label="a product has no tower",
                    help=f"remove `{key}`",
                )
        for index, factor in enumerate(task.product):
            span = resolved.span(("tasks", name, "product", index))
            if factor in task.product[:index]:
                yield Finding(
                    span, f"`{factor}` is a factor twice", label="again", help="remove it"
                )
            elif factor in spec.tasks and spec.tasks[factor].kind != "binary":
                yield Finding(
                    span,
                    f"`{factor}` is a regression, which has no probability",
                    label="not binary",
                    help="name binary tasks",
                )


@rule("HS219", "label-kind")
def label_kind(resolved: Resolved) -> Iterator[Finding]:
    """A task has a key that does not apply to its kind of label.

    `loss` and `scale` belong to a regression, `rate`, `pos_weight`, `focal` and `within` to a
    binary task.
    The label of a regression is a column of numbers, or arithmetic of two, not a comparison; that
    of a binary task is a column of 0 and 1, or a comparison.
    `where` names a binary task, since it asks whether that task's label is 1.
    """
    for name, task in resolved.spec.tasks.items():
        of_binary, of_regression = ("rate", "pos_weight", "focal", "within"), ("loss", "scale")
        alien = of_binary if task.kind == "regression" else of_regression
        for key in alien:
            if key in task.model_fields_set and not task.product:
                yield Finding(
                    resolved.span(("tasks", name, key), key=True),
                    f"`{name}` is {_article(task.kind)}, which does not take `{key}`",
                    label=f"{task.kind} task",
                    help=f"remove `{key}`"
                    + ("" if key in of_binary else ", or write `kind: regression`"),
                )
        label = parse_label(task.label)
        if task.kind == "regression" and label.test is not None:
            yield Finding(
                resolved.span(("tasks", name, "label")),
                f"`{name}` is a regression, and its label is a comparison",
                label="0 or 1",
                help="name the column of numbers, or leave out `kind: regression`",
            )
        if task.kind == "binary" and label.test is None and isinstance(label.value, Arithmetic):
            yield Finding(
                resolved.span(("tasks", name, "label")),
                f"`{name}` is a binary task, and `{label}` is a number",
                label="not 0 or 1",
                help=f"{_in_backticks(task.label)}compare it, as in `{label} > 0`, or write"
                " `kind: regression`",
            )
        parent = resolved.spec.tasks.get(task.where)
        if parent is not None and parent.kind != "binary":
            yield Finding(
                resolved.span(("tasks", name, "where")),
                f"`{task.where}` is a regression, so its label is not 0 or 1",
                label="not binary",
                help="name a binary task; its label may be a comparison with a number",
            )


def _in_backticks(label: str) -> str:
    """The remedy for a column with a hyphen in its name."""
    if not re.fullmatch(r"\w+(-\w+)+", label):
        return ""
    return f"if that is the name of a column, write it in backticks: '`{label}`'; else "


@rule("HS240", "outside-without-where")
def outside_without_where(resolved: Resolved) -> Iterator[Finding]:
    """A task weighs rows outside of its sample space, but has no sample space.

    `outside_weight` is the loss weight of the rows in which the label of the task named by `where`
    is not 1. Without `where`, all rows are inside the sample space. For a column of weights, use
    `sample_weight`.

    Bad:

    ```yaml
    tasks:
      buy: {outside_weight: 0.1}
    ```

    Good:

    ```yaml
    tasks:
      buy: {where: click, outside_weight: 0.1}
    ```
    """
    for name, task in resolved.spec.tasks.items():
        if task.outside_weight and not task.where:
            yield Finding(
                resolved.span(("tasks", name, "outside_weight"), key=True),
                f"`{name}` has an `outside_weight` but no `where`, so no row is outside",
                label="no sample space",
                help="name the task whose label defines the sample space: `where: TASK`",
            )


@rule("HS224", "unlabelled-task")
def unlabelled(resolved: Resolved) -> Iterator[Finding]:
    """A task has no label, and its name cannot be the name of a column.

    By default, the label of a task is the column with the task's name. `nan`, `null`, `none`,
    `true` and `false` are valid task names, but a label of these words is refused because it is
    almost certainly a mistake. Say which column the task is trained on.
    """
    for name, task in resolved.spec.tasks.items():
        if task.label.lower() in CONSTANTS:
            yield Finding(
                resolved.span(("tasks", name), key=True),
                f"the task `{name}` has no label, and a column cannot be called `{name}`",
                label="needs `label`",
                help=f"name the column that it is trained on, such as `label: is_{name}`",
            )


def _article(kind: str) -> str:
    return f"a {kind}" if kind == "regression" else "a binary task"
