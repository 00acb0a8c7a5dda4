"""HS60x and HS61x: changes of tasks, of what they are trained on, and of groups."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.checks.causes import listed
from homespec.diagnostics import Finding, Label
from homespec.diff.breaks import Breaks
from homespec.diff.pair import Pair, change, inverse, moved
from homespec.resolve.tree import Role, TreeNode
from homespec.schema.identifiers import ROOT
from homespec.schema.models import Task, Within


def _tasks(pair: Pair) -> Iterator[tuple[str, str, Task, Task]]:
    """The tasks that both specs have: old and new name, and their definitions."""
    names = inverse(pair.renames.places)
    for name, task in pair.new.spec.tasks.items():
        old = names.get(name, name)
        if old in pair.old.spec.tasks:
            yield old, name, pair.old.spec.tasks[old], task


def _old_tasks(pair: Pair) -> list[str]:
    """The old tasks under their new names."""
    return [pair.renames.place(name) for name in pair.old.spec.tasks]


@change("HS601", "task-added", Breaks.CHECKPOINT)
def task_added(pair: Pair) -> Iterator[Finding]:
    """A task that the old spec does not have.

    The model has one more output, and weights that no old checkpoint holds. `homespec migrate`
    carries over all others. If the outputs of other tasks move, HS604 reports it.
    """
    for name in pair.new.spec.tasks:
        if name not in _old_tasks(pair):
            yield Finding(
                pair.at(("tasks", name)),
                f"task `{name}` is new",
                label="a new output",
                related=(Label(pair.was_at(("tasks",)), "not here"),),
            )


@change("HS602", "task-removed", Breaks.INTERFACE, Breaks.CHECKPOINT)
def task_removed(pair: Pair) -> Iterator[Finding]:
    """A task that the new spec does not have.

    Code that reads its output fails or, if it reads by position, gets the output of another task.
    The weights of the task are dropped. If you only renamed it, declare that with `was`.
    """
    for name in pair.old.spec.tasks:
        if pair.renames.place(name) not in pair.new.spec.tasks:
            yield Finding(
                pair.at(("tasks",)),
                f"task `{name}` was removed",
                label=f"no `{name}`",
                related=(Label(pair.was_at(("tasks", name)), "was here"),),
                help=pair.rename_help("tasks", name),
            )


@change("HS603", "task-renamed", Breaks.INTERFACE, Breaks.CHECKPOINT)
def task_renamed(pair: Pair) -> Iterator[Finding]:
    """A task that was renamed, as its `was` says.

    Its output and its weights have a new name. `homespec migrate` renames the weights.
    """
    for old, name, _, _ in _tasks(pair):
        if old != name:
            yield pair.finding(
                ("tasks", old), ("tasks", name), f"task `{old}` was renamed to `{name}`",
                was=f"was `{old}`", now=f"now `{name}`",
            )  # fmt: skip


@change("HS604", "output-order", Breaks.INTERFACE)
def output_order(pair: Pair) -> Iterator[Finding]:
    """Outputs at another position.

    Stacked logits and the outputs of an exported package are read by position, in the order of the
    tasks. Add tasks at the end to keep the others where they are.
    """
    old, new = _old_tasks(pair), list(pair.new.spec.tasks)
    kept = [name for name in new if name in old]
    at = [name for name in kept if old.index(name) != new.index(name)]
    if at and (moved(old, new) or any(name not in old for name in new[: new.index(at[0])])):
        name = at[0]
        yield pair.finding(
            ("tasks", list(pair.old.spec.tasks)[old.index(name)]), ("tasks", name),
            f"output {new.index(name)} is `{name}`, which was output {old.index(name)}"
            + (f"; {listed(at[1:])} moved, too" if at[1:] else ""),
            was=f"was output {old.index(name)}", now=f"now output {new.index(name)}",
            help="put new tasks last, and keep the others in their order",
        )  # fmt: skip


def _parents(root: TreeNode) -> dict[str, str]:
    return {node.name: node.parent.name for node in root.walk() if node.parent}


def _groups(root: TreeNode) -> list[str]:
    return [node.name for node in root.of(Role.GROUP)]


@change("HS605", "moved", Breaks.CHECKPOINT, Breaks.NUMERICS)
def node_moved(pair: Pair) -> Iterator[Finding]:
    """A task or group that moved to another group.

    Its gate sees other experts, and its loss trains other experts. Its own experts and its tower
    keep their weights. Gates keep the rows of the experts that they still see.
    """
    before = {
        pair.renames.place(name): pair.renames.place(parent)
        for name, parent in _parents(pair.old.root).items()
    }
    now = _parents(pair.new.root)
    names = inverse(pair.renames.places)
    for name, parent in now.items():
        was = before.get(name, parent)
        still = was in now or was == ROOT
        if was != parent and (still or parent in before):
            yield pair.finding(
                ("groups", names.get(was, was)), ("groups", parent),
                f"`{name}` is in `{parent}`, was in `{was}`",
                was=f"`{name}` was here", now=f"`{name}` is here",
            )  # fmt: skip


@change("HS606", "group-added", Breaks.CHECKPOINT)
def group_added(pair: Pair) -> Iterator[Finding]:
    """A group that the old spec does not have, with experts and gates of its own.

    Its members get a gate that sees the new experts. HS605 reports their move.
    """
    old = [pair.renames.place(name) for name in _groups(pair.old.root)]
    for name in _groups(pair.new.root):
        if name not in old:
            yield Finding(
                pair.at(("groups", name)),
                f"group `{name}` is new",
                related=(Label(pair.was_at(("groups",)), "not here"),),
            )


@change("HS607", "group-removed", Breaks.CHECKPOINT)
def group_removed(pair: Pair) -> Iterator[Finding]:
    """A group that the new spec does not have: the weights of its experts and gates are dropped.

    Its members now belong to other groups. If you only renamed the group, declare that with `was`.
    """
    for name in _groups(pair.old.root):
        if pair.renames.place(name) not in _groups(pair.new.root):
            yield Finding(
                pair.at(("groups",)),
                f"group `{name}` was removed",
                label=f"no `{name}`",
                related=(Label(pair.was_at(("groups", name)), "was here"),),
                help=pair.rename_help("groups", name),
            )


@change("HS608", "group-renamed", Breaks.CHECKPOINT)
def group_renamed(pair: Pair) -> Iterator[Finding]:
    """A group that was renamed, as its `was` says; `homespec migrate` renames its weights.

    Nothing else changes, because outputs are named after tasks.
    """
    new = _groups(pair.new.root)
    for old in _groups(pair.old.root):
        name = pair.renames.place(old)
        if name != old and name in new:
            yield pair.finding(
                ("groups", old), ("groups", name), f"group `{old}` was renamed to `{name}`",
                was=f"was `{old}`", now=f"now `{name}`",
            )  # fmt: skip


def _values(pair: Pair, key: str, what: str) -> Iterator[Finding]:
    """Tasks that differ in one value."""
    for old, name, before, after in _tasks(pair):
        was, now = getattr(before, key), getattr(after, key)
        was = pair.renames.place(was) if key == "where" else was
        if was != now and before.kind == after.kind:
            yield pair.finding(
                ("tasks", old, key), ("tasks", name, key),
                f"{what} of task `{name}` is {_said(now)}, was {_said(was)}",
                was=f"was {_said(was)}", now=f"now {_said(now)}",
            )  # fmt: skip


def _said(value: object) -> str:
    if value is None or value == "":
        return "not given"
    if isinstance(value, Within):
        return f"by `{value.column}` with weight {value.weight:g}"
    return f"`{value}`" if isinstance(value, str) else f"{value:g}"


@change("HS609", "task-kind", Breaks.INTERFACE, Breaks.CHECKPOINT)
def task_kind(pair: Pair) -> Iterator[Finding]:
    """A task whose output is of another kind: a logit, the estimate of a regression, or a product.

    Code that turns outputs into probabilities or numbers must handle this one differently.
    """
    for old, name, before, after in _tasks(pair):
        was, now = (_kind(task) for task in (before, after))
        if was != now:
            yield pair.finding(
                ("tasks", old), ("tasks", name), f"task `{name}` is {now}, was {was}",
                was=f"was {was}", now=f"now {now}",
            )  # fmt: skip


def _kind(task: Task) -> str:
    return "a product" if task.product else f"a {task.kind} task"


@change("HS610", "task-scale", Breaks.INTERFACE)
def task_scale(pair: Pair) -> Iterator[Finding]:
    """A regression whose estimate is in another unit: outputs are multiples of `scale`.

    Code that reads the output must multiply by the new `scale`, and the tower must learn the new
    unit. If outputs must keep their unit, divide the label in your data instead.
    """
    yield from _values(pair, "scale", "the unit")


@change("HS611", "task-factors", Breaks.NUMERICS)
def task_factors(pair: Pair) -> Iterator[Finding]:
    """A product whose factors are other tasks than before.

    The task's output is now another probability, whatever the factors have learned.
    """
    for old, name, before, after in _tasks(pair):
        was = tuple(map(pair.renames.place, before.product))
        if before.product and after.product and was != after.product:
            yield pair.finding(
                ("tasks", old, "product"),
                ("tasks", name, "product"),
                f"task `{name}` is the product of {listed(after.product)}, was of {listed(was)}",
            )


@change("HS612", "task-label", Breaks.TRAINING)
def task_label(pair: Pair) -> Iterator[Finding]:
    """A task that is trained on another label.

    A trained model stays as it is, but from now on it learns, and is measured by, another label.
    """
    yield from _values(pair, "label", "the label")
    yield from _values(pair, "unknown", "the value for an unknown label")


@change("HS613", "task-where", Breaks.TRAINING)
def task_where(pair: Pair) -> Iterator[Finding]:
    """A task with other samples or sample weights: another `where` or `outside_weight`.

    The output is a probability given the parent task, so its meaning changes with the sample space.
    """
    yield from _values(pair, "where", "the sample space")
    yield from _values(pair, "outside_weight", "the weight outside of the sample space")


@change("HS614", "task-loss", Breaks.TRAINING)
def task_loss(pair: Pair) -> Iterator[Finding]:
    """A task with another loss.

    A trained model stays as it is. From now on, a regression learns another kind of average of its
    label, and the probabilities of a binary task are shifted differently.
    """
    yield from _values(pair, "loss", "the loss")
    yield from _values(pair, "pos_weight", "the weight of positives")
    yield from _values(pair, "focal", "the exponent of the focal loss")
    yield from _values(pair, "within", "the ranking within sessions")


@change("HS615", "task-weight", Breaks.TRAINING)
def task_weight(pair: Pair) -> Iterator[Finding]:
    """A task with another weight in the sum of losses, or with other weights of its rows.

    A trained model stays as it is. From now on, this task gains or loses influence relative to the
    others, or its rows do according to their sample weights.
    """
    yield from _values(pair, "weight", "the weight")
    yield from _values(pair, "sample_weight", "the column of sample weights")


@change("HS616", "task-rate", Breaks.TRAINING)
def task_rate(pair: Pair) -> Iterator[Finding]:
    """A task with another expected share of positive labels.

    The rate sets the initial bias of a new tower and is used by the design rules. Weights that are
    carried over stay.
    """
    yield from _values(pair, "rate", "the expected rate")


TASK_CHANGES = (
    task_added, task_removed, task_renamed, output_order, node_moved, group_added, group_removed,
    group_renamed, task_kind, task_scale, task_factors, task_label, task_where, task_loss,
    task_weight, task_rate,
)  # fmt: skip
