"""Stage 7, emit: labels, sample spaces and losses of tasks."""

from __future__ import annotations

import itertools

from homespec.emit.layout import Group, call, literal, mapping, packed, sequence, strings
from homespec.graph import Graph
from homespec.graph.nodes import Objective, Tower

MEASURES = {
    "binary": "F.binary_cross_entropy_with_logits",
    "squared": "F.mse_loss",
    "absolute": "F.l1_loss",
    "huber": "F.huber_loss",
}

READERS = """\
# LABELS and WEIGHTS are for the code that reads data and trains; `loss` has these weights in it."""


def task_constants(graph: Graph) -> list[str]:
    """The constants of tasks: their names, labels and weights, where training starts."""
    objectives = objectives_of(graph)
    towers = {tower.task: tower for tower in graph.of(Tower)}
    scales = [(t, literal(towers[t].scale)) for t in graph.tasks if t in towers]
    labels = {o.task: o.label for o in objectives}
    parents = {o.where: o.where_label for o in objectives if o.where}
    runs = _weight_runs([o.weight for o in objectives])
    weights: Group = _by_task({o.task: o.weight for o in objectives})
    if {o.task for o in objectives} == set(graph.tasks) and len(
        {o.weight for o in objectives}
    ) == 1:
        weights = call("dict.fromkeys", "TASKS", literal(objectives[0].weight))
    constants: list[tuple[str, Group | None]] = [
        ("TASKS", strings(graph.tasks)),
        ("LABELS", _by_task({**labels, **{t: parents[t] for t in parents if t not in labels}})),
        ("WEIGHTS", weights),
        ("RUNS", sequence(runs, "[]") if runs else None),
        ("SCALES", mapping([(t, scale) for t, scale in scales if scale != "1.0"])),
        ("WHERE", _by_task({o.task: o.where for o in objectives if o.where})),
        ("MEASURES", _measures(objectives)),
        ("RATES", _by_task({t.task: t.rate for t in towers.values() if t.rate is not None})),
    ]
    lines = [
        packed(name, value) for name, value in constants if value and (value.args or value.keywords)
    ]
    lines[1:1] = [READERS] if objectives else []
    return lines


def order_constant(order: list[int]) -> list[str]:
    """The constant that says where each task's logit is among those of the towers."""
    rows = sequence([str(row) for row in order])
    note = "# Where each task's logit is among those of the towers."
    return [note, packed("ORDER", rows)] if order else []


def _by_task(values: dict[str, object]) -> Group:
    return mapping([(task, literal(value)) for task, value in values.items()])


def objectives_of(graph: Graph) -> list[Objective]:
    """The objectives in the order of the tasks."""
    objectives = {objective.task: objective for objective in graph.of(Objective)}
    return [objectives[task] for task in graph.tasks if task in objectives]


def _measures(objectives: list[Objective]) -> Group | None:
    """Which tasks have which loss; nothing if it is binary cross-entropy for all."""
    if {o.loss for o in objectives} <= {"binary"}:
        return None
    tasks = {loss: [o.task for o in objectives if o.loss == loss] for loss in MEASURES}
    rows = tuple((MEASURES[loss], strings(names)) for loss, names in tasks.items() if names)
    return Group("", (), rows, "{}")


def _weight_runs(weights: list[float]) -> list[Group]:
    """The lengths and weights of runs of tasks of one weight; none if all weights are 1."""
    if all(weight == 1 for weight in weights):
        return []
    runs = [(len(list(run)), weight) for weight, run in itertools.groupby(weights)]
    return [sequence([str(n), literal(weight)]) for n, weight in runs]


def loss_blocks(graph: Graph) -> tuple[list[str], list[str]]:
    """The blocks of losses in their order in the file, and the forms of those that they need."""
    objectives = objectives_of(graph)
    if not objectives:
        return [], []
    kinds = {o.loss for o in objectives}
    where = any(o.where for o in objectives)
    scales = any(o.scale != 1 for o in objectives)
    form = ["mixed"] if kinds != {"binary"} else []
    form += ["scales"] * scales + ["where"] * where
    blocks = ["losses.observed"] if where else []
    blocks.append("losses.stacked_losses" + (f"__{'_'.join(form)}" if form else ""))
    weighted = any(o.weight != 1 for o in objectives)
    blocks += ["losses.losses", "losses.loss__weighted" if weighted else "losses.loss"]
    return blocks, [] if "binary" in kinds else ["losses.mean_losses__regressions"]
