"""The losses of all tasks, and checks of their inputs."""

from contextlib import suppress
from itertools import compress

import torch
import torch.nn.functional as F

from homespec.emit.blocks.checks import check_shapes
from homespec.emit.blocks.constants import (
    LABELS,
    LOSS_RUNS,
    MEASURES,
    RUNS,
    SCALES,
    TASKS,
    WHERE,
)
from homespec.emit.blocks.row_weights import row_weights, weighted_means
from homespec.emit.blocks.sessions import session_losses


def stack(what, tensors, rows=None):
    """Tensors [B] by task as one [T, B]. Raises ValueError for missing or misshapen ones."""
    check_shapes(what, tensors, dict.fromkeys(TASKS, ()), rows)
    return torch.stack([tensors[task] for task in TASKS])


def stack_logits(logits):
    """Logits as one tensor [T, B], given as such or by task. Raises ValueError."""
    if not isinstance(logits, torch.Tensor):
        return stack("logit", logits)
    if logits.dim() != 2 or len(logits) != len(TASKS):
        raise ValueError(f"stacked logits must be [{len(TASKS)}, B], not {list(logits.shape)}")
    return logits


def observed(labels):
    """Labels by task, with NaN in rows outside the task's sample space.

    A task with a parent in WHERE is trained and measured only where the parent's label is 1.
    """
    check_shapes("label", labels, dict.fromkeys((*WHERE, *WHERE.values()), ()))
    inside = {task: labels[task].where(labels[WHERE[task]] == 1, torch.nan) for task in WHERE}
    return {**labels, **inside}


def checked_labels(labels, tasks):
    """Labels [T, B] of binary tasks; those not from 0 to 1 become NaN, and so does the loss.

    Eager code on a CPU raises ValueError instead. Elsewhere, a check would have to wait for the
    values.
    """
    wrong = labels.clamp(0, 1) != labels
    if labels.is_cpu and not torch.compiler.is_compiling():
        with suppress(RuntimeError):  # torch.func.vmap cannot read values
            if found := ", ".join(compress(tasks, wrong.any(1).tolist())):
                raise ValueError(f"labels must be from 0 to 1, or NaN: check those of {found}")
    return labels.masked_fill(wrong, torch.nan)


def stacked_losses(logits, labels):
    """Binary cross-entropy of each task [T], the mean over rows whose label is not NaN (0 if none).

    logits: task -> [B], or [T, B]; labels: task -> [B], from 0 to 1 or NaN for not observed.
    """
    logits = stack_logits(logits)
    labels = stack("label", labels, logits.shape[1])
    dtype = torch.promote_types(torch.promote_types(logits.dtype, labels.dtype), torch.float32)
    logits, labels = logits.to(dtype), labels.to(dtype)
    missing = labels.isnan()
    labels = checked_labels(labels.masked_fill(missing, 0.0), TASKS)
    losses_TB = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return losses_TB.masked_fill(missing, 0.0).sum(1) / (~missing).sum(1).clamp(min=1)


def stacked_losses__where(logits, labels):
    """Binary cross-entropy of each task [T], the mean over rows whose label is not NaN (0 if none).

    logits: task -> [B], or [T, B]; labels: task -> [B], from 0 to 1 or NaN for not observed. Rows
    outside a task's sample space count as not observed.
    """
    logits = stack_logits(logits)
    check_shapes("label", labels, dict.fromkeys(LABELS, ()), logits.shape[1])
    inside = torch.ones_like(labels[TASKS[0]])
    parents = torch.stack([labels[WHERE[task]] if task in WHERE else inside for task in TASKS])
    labels = torch.stack([labels[task] for task in TASKS]).where(parents == 1, torch.nan)
    dtype = torch.promote_types(torch.promote_types(logits.dtype, labels.dtype), torch.float32)
    logits, labels = logits.to(dtype), labels.to(dtype)
    missing = labels.isnan()
    labels = checked_labels(labels.masked_fill(missing, 0.0), TASKS)
    losses_TB = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return losses_TB.masked_fill(missing, 0.0).sum(1) / (~missing).sum(1).clamp(min=1)


def stacked_losses__mixed(logits, labels):
    """The loss of each task [T], the mean over rows whose label is not NaN (0 if none).

    logits: task -> [B], or [T, B]; labels: task -> [B], NaN for not observed.
    """
    logits = stack_logits(logits)
    check_shapes("label", labels, dict.fromkeys(LABELS, ()), logits.shape[1])
    return by_measure(logits, labels)


def stacked_losses__mixed_where(logits, labels):
    """The loss of each task [T], the mean over rows whose label is not NaN (0 if none).

    logits: task -> [B], or [T, B]; labels: task -> [B], NaN for not observed. Rows outside a task's
    sample space count as not observed.
    """
    logits = stack_logits(logits)
    check_shapes("label", labels, dict.fromkeys(LABELS, ()), logits.shape[1])
    return by_measure(logits, observed(labels))


def stacked_losses__mixed_scales(logits, labels):
    """The loss of each task [T], the mean over rows whose label is not NaN (0 if none).

    logits: task -> [B], or [T, B]; labels: task -> [B], NaN for not observed. Logits of regressions
    are estimates in units of SCALES.
    """
    logits = stack_logits(logits)
    check_shapes("label", labels, dict.fromkeys(LABELS, ()), logits.shape[1])
    return by_measure(logits, scaled(labels))


def stacked_losses__mixed_scales_where(logits, labels):
    """The loss of each task [T], the mean over rows whose label is not NaN (0 if none).

    logits: task -> [B], or [T, B]; labels: task -> [B], NaN for not observed. Rows outside a task's
    sample space count as not observed. Logits of regressions are estimates in units of SCALES.
    """
    logits = stack_logits(logits)
    check_shapes("label", labels, dict.fromkeys(LABELS, ()), logits.shape[1])
    return by_measure(logits, scaled(observed(labels)))


def stacked_losses__rows(logits, labels):
    """The loss of each task [T], the weighted mean over its rows (0 if there are none).

    logits: task -> [B], or [T, B]; labels: task -> [B], NaN for not observed. `row_weights`
    computes the weights of rows.
    """
    logits = stack_logits(logits)
    check_shapes("label", labels, dict.fromkeys(LABELS, ()), logits.shape[1])
    return weighted_losses(logits, labels, row_weights(labels))


def stacked_losses__rows_weights(logits, labels, weights):
    """The loss of each task [T], the weighted mean over its rows (0 if there are none).

    logits: task -> [B], or [T, B]; labels: task -> [B], NaN for not observed; weights: task -> [B],
    0 or more, for the tasks of SAMPLE_WEIGHTS. `row_weights` computes the weights of rows.
    """
    logits = stack_logits(logits)
    check_shapes("label", labels, dict.fromkeys(LABELS, ()), logits.shape[1])
    return weighted_losses(logits, labels, row_weights(labels, weights))


def stacked_losses__rows_within(logits, labels, sessions):
    """The loss of each task [T], the mean over its rows by their weights (0 if there are none).

    logits: task -> [B], or [T, B]; labels: task -> [B], NaN for not observed; sessions: ids [B]. A
    row counts as `row_weights` says.
    """
    logits = stack_logits(logits)
    check_shapes("label", labels, dict.fromkeys(LABELS, ()), logits.shape[1])
    weights = row_weights(labels)
    losses_T = weighted_losses(logits, labels, weights)
    return losses_T + session_losses(logits, labels, weights, sessions)


def stacked_losses__rows_weights_within(logits, labels, weights, sessions):
    """The loss of each task [T], the mean over its rows by their weights (0 if there are none).

    logits: task -> [B], or [T, B]; labels: task -> [B], NaN for not observed; weights: task -> [B],
    0 or more, for the tasks of SAMPLE_WEIGHTS; sessions: ids [B]. A row counts as `row_weights`
    says.
    """
    logits = stack_logits(logits)
    check_shapes("label", labels, dict.fromkeys(LABELS, ()), logits.shape[1])
    weights = row_weights(labels, weights)
    losses_T = weighted_losses(logits, labels, weights)
    return losses_T + session_losses(logits, labels, weights, sessions)


def weighted_losses(logits, labels, weights):
    """Binary cross-entropy of each task [T], the mean over rows with weights [T, B]."""
    labels = torch.stack([labels[task] for task in TASKS])
    dtype = torch.promote_types(torch.promote_types(logits.dtype, labels.dtype), torch.float32)
    logits, labels = logits.to(dtype), labels.to(dtype)
    labels = checked_labels(labels.masked_fill(weights == 0, 0.0), TASKS)
    losses_TB = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return weighted_means(losses_TB, weights)


def weighted_losses__runs(logits, labels, weights):
    """The loss of each task [T], defined by LOSS_RUNS: the mean over rows with weights [T, B]."""
    labels = torch.stack([labels[task] for task in TASKS])
    return by_runs(logits, labels, weights)


def weighted_losses__runs_scales(logits, labels, weights):
    """The loss of each task [T], defined by LOSS_RUNS: the mean over rows with weights [T, B]."""
    labels = scaled(labels)
    labels = torch.stack([labels[task] for task in TASKS])
    return by_runs(logits, labels, weights)


def by_runs(logits, labels, weights):
    """The loss of each task [T], defined by LOSS_RUNS, from logits, labels and weights [T, B]."""
    dtype = torch.promote_types(torch.promote_types(logits.dtype, labels.dtype), torch.float32)
    logits, labels = logits.to(dtype), labels.to(dtype).masked_fill(weights == 0, 0.0)
    sizes = [len(tasks) for tasks, _, _ in LOSS_RUNS]
    parts = []
    for run, logit, label in zip(LOSS_RUNS, logits.split(sizes), labels.split(sizes), strict=True):
        tasks, measure, _ = run  # there are no shape parameters here
        label = label if measure in REGRESSIONS else checked_labels(label, tasks)
        parts.append(measure(logit, label, reduction="none"))
    return weighted_means(torch.cat(parts), weights)


def by_runs__shaped(logits, labels, weights):
    """The loss of each task [T], defined by LOSS_RUNS, from logits, labels and weights [T, B]."""
    dtype = torch.promote_types(torch.promote_types(logits.dtype, labels.dtype), torch.float32)
    logits, labels = logits.to(dtype), labels.to(dtype).masked_fill(weights == 0, 0.0)
    sizes = [len(tasks) for tasks, _, _ in LOSS_RUNS]
    parts = []
    for run, logit, label in zip(LOSS_RUNS, logits.split(sizes), labels.split(sizes), strict=True):
        tasks, measure, shape = run
        label = label if measure in REGRESSIONS else checked_labels(label, tasks)
        if shape:
            parts.append(shaped_entropies(logit, label, **shape))
        else:
            parts.append(measure(logit, label, reduction="none"))
    return weighted_means(torch.cat(parts), weights)


def shaped_entropies(logits, labels, pos_weight=1.0, focal=0.0):
    """Cross-entropies of the shape of logits: those of positives times `pos_weight`, each times
    (1 - p)^focal, where p is the probability that the logit gives to the label.
    """
    on, off = F.logsigmoid(logits), F.logsigmoid(-logits)
    positive = pos_weight * labels * (focal * off).exp() * on
    return -positive - (1 - labels) * (focal * on).exp() * off


REGRESSIONS = (F.mse_loss, F.l1_loss, F.huber_loss)


def scaled(labels):
    """Labels in units of SCALES."""
    return labels | {task: labels[task] / scale for task, scale in SCALES.items()}


def by_measure(logits, labels):
    """The loss of each task [T], by its measure in MEASURES."""
    logits = dict(zip(TASKS, logits.unbind(), strict=True))
    result = {}
    for measure, tasks in MEASURES.items():
        loss_T = mean_losses(measure, tasks, logits, labels)
        result.update(zip(tasks, loss_T.unbind(), strict=True))
    return torch.stack([result[task] for task in TASKS])


def mean_losses(measure, tasks, logits, labels):
    """`measure` of tasks [T], the mean over rows whose label is not NaN; at least in float32."""
    labels = torch.stack([labels[task] for task in tasks])
    logits = torch.stack([logits[task] for task in tasks])
    dtype = torch.promote_types(torch.promote_types(logits.dtype, labels.dtype), torch.float32)
    logits, labels = logits.to(dtype), labels.to(dtype)
    missing = labels.isnan()
    labels = labels.masked_fill(missing, 0.0)
    if measure is F.binary_cross_entropy_with_logits:
        labels = checked_labels(labels, tasks)
    losses_TB = measure(logits, labels, reduction="none")
    return losses_TB.masked_fill(missing, 0.0).sum(1) / (~missing).sum(1).clamp(min=1)


def mean_losses__regressions(measure, tasks, logits, labels):
    """`measure` of tasks [T], the mean over rows whose label is not NaN; at least in float32."""
    labels = torch.stack([labels[task] for task in tasks])
    logits = torch.stack([logits[task] for task in tasks])
    dtype = torch.promote_types(torch.promote_types(logits.dtype, labels.dtype), torch.float32)
    logits, labels = logits.to(dtype), labels.to(dtype)
    missing = labels.isnan()
    losses_TB = measure(logits, labels.masked_fill(missing, 0.0), reduction="none")
    return losses_TB.masked_fill(missing, 0.0).sum(1) / (~missing).sum(1).clamp(min=1)


def losses(logits, labels):
    """The loss of each task: task -> scalar; arguments as for `stacked_losses`."""
    return dict(zip(TASKS, stacked_losses(logits, labels).unbind(), strict=True))


def losses__weights(logits, labels, weights):
    """The loss of each task: task -> scalar; arguments as for `stacked_losses`."""
    return dict(zip(TASKS, stacked_losses(logits, labels, weights).unbind(), strict=True))


def losses__within(logits, labels, sessions):
    """The loss of each task: task -> scalar; arguments as for `stacked_losses`."""
    return dict(zip(TASKS, stacked_losses(logits, labels, sessions).unbind(), strict=True))


def losses__weights_within(logits, labels, weights, sessions):
    """The loss of each task: task -> scalar; arguments as for `stacked_losses`."""
    losses_T = stacked_losses(logits, labels, weights, sessions)
    return dict(zip(TASKS, losses_T.unbind(), strict=True))


def loss(logits, labels):
    """The sum of all tasks' losses, a scalar; arguments as for `stacked_losses`."""
    return stacked_losses(logits, labels).sum()  # all weights are 1


def loss__weighted(logits, labels):
    """The weighted sum of all losses, a scalar; arguments as for `stacked_losses`."""
    parts = stacked_losses(logits, labels).split([count for count, _ in RUNS])
    return sum(weight * part_T.sum() for (_, weight), part_T in zip(RUNS, parts, strict=True))


def loss__weights(logits, labels, weights):
    """The sum of all tasks' losses, a scalar; arguments as for `stacked_losses`."""
    return stacked_losses(logits, labels, weights).sum()


def loss__weighted_weights(logits, labels, weights):
    """The weighted sum of all losses, a scalar; arguments as for `stacked_losses`."""
    parts = stacked_losses(logits, labels, weights).split([count for count, _ in RUNS])
    return sum(weight * part_T.sum() for (_, weight), part_T in zip(RUNS, parts, strict=True))


def loss__within(logits, labels, sessions):
    """The sum of all tasks' losses, a scalar; arguments as for `stacked_losses`."""
    return stacked_losses(logits, labels, sessions).sum()


def loss__weighted_within(logits, labels, sessions):
    """The weighted sum of all losses, a scalar; arguments as for `stacked_losses`."""
    parts = stacked_losses(logits, labels, sessions).split([count for count, _ in RUNS])
    return sum(weight * part_T.sum() for (_, weight), part_T in zip(RUNS, parts, strict=True))


def loss__weights_within(logits, labels, weights, sessions):
    """The sum of all tasks' losses, a scalar; arguments as for `stacked_losses`."""
    return stacked_losses(logits, labels, weights, sessions).sum()


def loss__weighted_weights_within(logits, labels, weights, sessions):
    """The weighted sum of all losses, a scalar; arguments as for `stacked_losses`."""
    parts = stacked_losses(logits, labels, weights, sessions).split([count for count, _ in RUNS])
    return sum(weight * part_T.sum() for (_, weight), part_T in zip(RUNS, parts, strict=True))
