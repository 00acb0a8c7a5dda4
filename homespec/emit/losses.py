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

ROW_WEIGHTS = {
    (True, False): "",
    (True, True): "__weights_space",
    (False, True): "__space",
    (False, False): "__known",
}
"""The variant of `row_weights`, by whether there are sample weights and sample spaces."""

NOTES = {
    "LABELS": "# LABELS and WEIGHTS are for code that reads data and trains; `loss` already "
    "contains these weights.",
    "UNKNOWN": "# UNKNOWN has the values of label columns that mean unknown; their labels are NaN.",
    "SAMPLE_WEIGHTS": "# SAMPLE_WEIGHTS has the columns of row weights, which `loss` takes by "
    "task.",
    "SESSIONS": "# SESSIONS is the column of ids of sessions, which `loss` takes; WITHIN weighs "
    "ranking there.",
}
"""Comments before constants, by name."""


def task_constants(graph: Graph) -> list[str]:
    """The constants of tasks: names, labels, weights, and rates at which training starts."""
    objectives = objectives_of(graph)
    towers = {tower.task: tower for tower in graph.of(Tower)}
    scales = [(t, literal(towers[t].scale)) for t in graph.tasks if t in towers]
    labels = _labels(objectives)
    runs = _weight_runs([o.weight for o in objectives])
    weights: Group = _by_task({o.task: o.weight for o in objectives})
    if {o.task for o in objectives} == set(graph.tasks) and len(
        {o.weight for o in objectives}
    ) == 1:
        weights = call("dict.fromkeys", "TASKS", literal(objectives[0].weight))
    constants: list[tuple[str, Group | None]] = [
        ("TASKS", strings(graph.tasks)),
        ("LABELS", _by_task({task: label for task, (label, _) in labels.items()})),
        ("UNKNOWN", _by_task({task: u for task, (_, u) in labels.items() if u is not None})),
        ("WEIGHTS", weights),
        ("RUNS", sequence(runs, "[]") if runs else None),
        ("SCALES", mapping([(t, scale) for t, scale in scales if scale != "1.0"])),
        ("WHERE", _by_task({o.task: o.where for o in objectives if o.where})),
        ("SAMPLE_WEIGHTS", _by_task(_sampled(objectives))),
        ("OUTSIDE", _outside(objectives)),
        ("SESSIONS", _by_task({o.task: o.within for o in objectives if o.within})),
        ("WITHIN", _within(objectives)),
        ("MEASURES", None if by_rows(objectives) else _measures(objectives)),
        ("LOSS_RUNS", _loss_runs(objectives) if by_rows(objectives) else None),
        ("RATES", _by_task({t.task: t.rate for t in towers.values() if t.rate is not None})),
    ]
    lines = {
        name: packed(name, value)
        for name, value in constants
        if value and (value.args or value.keywords)
    }
    notes = [note for name, note in NOTES.items() if name in lines]
    first, *others = lines.values()
    return [first, *notes, *others]


def _labels(objectives: list[Objective]) -> dict[str, tuple[str, object]]:
    """The label of each task and of each parent of a sample space, with its value for unknown.

    A pruned parent has no objective.
    """
    labels: dict[str, tuple[str, object]] = {o.task: (o.label, o.unknown) for o in objectives}
    for o in objectives:
        if o.where:
            labels.setdefault(o.where, (o.where_label, o.where_unknown))
    return labels


def order_constant(order: list[int]) -> list[str]:
    """The constant with the position of each task's logit among those of the towers."""
    rows = sequence([str(row) for row in order])
    note = "# The position of each task's logit among those of the towers."
    return [note, packed("ORDER", rows)] if order else []


def _by_task(values: dict[str, object]) -> Group:
    return mapping([(task, literal(value)) for task, value in values.items()])


def objectives_of(graph: Graph) -> list[Objective]:
    """The objectives in the order of the tasks."""
    objectives = {objective.task: objective for objective in graph.of(Objective)}
    return [objectives[task] for task in graph.tasks if task in objectives]


def _measures(objectives: list[Objective]) -> Group | None:
    """The tasks of each loss; empty if all have binary cross-entropy."""
    if {o.loss for o in objectives} <= {"binary"}:
        return None
    tasks = {loss: [o.task for o in objectives if o.loss == loss] for loss in MEASURES}
    rows = tuple((MEASURES[loss], strings(names)) for loss, names in tasks.items() if names)
    return Group("", (), rows, "{}")


def by_rows(objectives: list[Objective]) -> bool:
    """Whether a loss weights rows, other than by whether they have a label."""
    return any(o.sample_weight or o.outside or o.within or _shape(o) for o in objectives)


def _shape(objective: Objective) -> tuple[tuple[str, str], ...]:
    """How a cross-entropy weights rows by their labels and predictions."""
    given = {"pos_weight": (objective.pos_weight, 1.0), "focal": (objective.focal, 0.0)}
    return tuple((key, literal(value)) for key, (value, none) in given.items() if value != none)


def _sampled(objectives: list[Objective]) -> dict[str, object]:
    """The columns of sample weights by task."""
    return {o.task: o.sample_weight for o in objectives if o.sample_weight}


def _outside(objectives: list[Objective]) -> Group | None:
    """The lengths of runs of tasks of one weight outside of their sample spaces, with it."""
    return _runs([o.outside for o in objectives])


def _within(objectives: list[Objective]) -> Group | None:
    """The same of the weights of ranking within sessions."""
    return _runs([o.within_weight for o in objectives])


def _runs(weights: list[float]) -> Group | None:
    """The lengths of runs of one weight, with it; nothing if all are 0."""
    if not any(weights):
        return None
    runs = itertools.groupby(weights)
    return sequence([sequence([str(len(list(run))), literal(w)]) for w, run in runs], "[]")


def _loss_runs(objectives: list[Objective]) -> Group | None:
    """Runs of tasks of one loss; nothing if it is binary cross-entropy for all."""
    if {(o.loss, _shape(o)) for o in objectives} <= {("binary", ())}:
        return None
    runs = itertools.groupby(objectives, lambda o: (o.loss, _shape(o)))
    rows = [
        sequence([strings([o.task for o in run]), MEASURES[loss], mapping(shape)])
        for (loss, shape), run in runs
    ]
    return sequence(rows, "[]")


def _weight_runs(weights: list[float]) -> list[Group]:
    """The lengths and weights of runs of tasks of one weight; none if all weights are 1."""
    if all(weight == 1 for weight in weights):
        return []
    runs = [(len(list(run)), weight) for weight, run in itertools.groupby(weights)]
    return [sequence([str(n), literal(weight)]) for n, weight in runs]


def loss_blocks(graph: Graph) -> tuple[list[str], list[str]]:
    """The blocks of losses in their order in the file, and the variants of their dependencies."""
    objectives = objectives_of(graph)
    if not objectives:
        return [], []
    blocks = ["losses.observed"] if any(o.where for o in objectives) else []
    weighted = any(o.weight != 1 for o in objectives)
    if by_rows(objectives):
        return _row_blocks(objectives, blocks, weighted)
    kinds = {o.loss for o in objectives}
    form = _form(
        {"mixed": kinds != {"binary"}, "scales": _scaled(objectives), "where": bool(blocks)}
    )
    blocks.append("losses.stacked_losses" + form)
    blocks += ["losses.losses", "losses.loss" + _form({"weighted": weighted})]
    return blocks, [] if "binary" in kinds else ["losses.mean_losses__regressions"]


def _row_blocks(
    objectives: list[Objective], blocks: list[str], weighted: bool
) -> tuple[list[str], list[str]]:
    """The same if rows have weights."""
    sampled, space = bool(_sampled(objectives)), bool(blocks)
    runs = _loss_runs(objectives) is not None
    forms = [
        "row_weights.row_weights" + ROW_WEIGHTS[sampled, space],
        "row_weights.space_weights" + _form({"outside": any(o.outside for o in objectives)}),
        "losses.by_runs" + _form({"shaped": any(map(_shape, objectives))}),
        "losses.weighted_losses" + _form({"runs": runs, "scales": runs and _scaled(objectives)}),
    ]
    takes = {"weights": sampled, "within": any(o.within for o in objectives)}
    blocks.append("losses.stacked_losses" + _form({"rows": True, **takes}))
    blocks.append("losses.losses" + _form(takes))
    blocks.append("losses.loss" + _form({"weighted": weighted, **takes}))
    return blocks, forms


def _scaled(objectives: list[Objective]) -> bool:
    return any(o.scale != 1 for o in objectives)


def _form(parts: dict[str, bool]) -> str:
    """The suffix of a variant's name: the words that apply."""
    words = [word for word, holds in parts.items() if holds]
    return f"__{'_'.join(words)}" if words else ""
