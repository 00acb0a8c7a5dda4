"""The losses of all tasks, and the checks of what they are computed from."""

import torch
import torch.nn.functional as F

from homespec.emit.blocks.constants import LABELS, MEASURES, RUNS, SCALES, TASKS, WHERE


def check_rows(what, tensors, tasks, rows=None):
    """Raise ValueError for tensors by task that are missing or not [rows]."""
    missing = [task for task in tasks if task not in tensors]
    if missing:
        raise ValueError(f"{what} missing: {', '.join(missing)}")
    for task in tasks:
        rows = tensors[task].numel() if rows is None else rows
        if tensors[task].shape != (rows,):
            raise ValueError(f"{what} of {task} must be [{rows}], not {list(tensors[task].shape)}")


def stack_logits(logits):
    """Logits by task as one tensor [T, B], which may be given as such. Raises ValueError."""
    if not isinstance(logits, torch.Tensor):
        check_rows("logits", logits, TASKS)
        return torch.stack([logits[task] for task in TASKS])
    if logits.dim() != 2 or len(logits) != len(TASKS):
        raise ValueError(f"stacked logits must be [{len(TASKS)}, B], not {list(logits.shape)}")
    return logits


def observed(labels):
    """Labels by task, NaN in rows outside of the task's sample space.

    A task with a parent in WHERE is trained and measured only where the parent's label is 1.
    """
    check_rows("labels", labels, (*WHERE, *WHERE.values()))
    inside = {task: labels[task].where(labels[WHERE[task]] == 1, torch.nan) for task in WHERE}
    return {**labels, **inside}


def zero_to_one(labels_TB):
    """The labels of all tasks; NaN, and so the loss, where one is not from 0 to 1.

    Eager code on a CPU raises ValueError instead: elsewhere it would have to wait for the numbers.
    """
    wrong_TB = labels_TB.clamp(0, 1) != labels_TB
    if labels_TB.is_cpu and not torch.compiler.is_compiling():
        try:
            wrong = [TASKS[i] for i in wrong_TB.any(1).nonzero()]
        except RuntimeError:  # there are no numbers to look at, as under torch.func.vmap
            wrong = []
        if wrong:
            tasks = ", ".join(wrong)
            raise ValueError(f"labels of binary tasks are 0 to 1, or NaN; not so those of {tasks}")
    return labels_TB.masked_fill(wrong_TB, torch.nan)


def zero_to_one__mixed(labels_TB, tasks):
    """The labels of binary tasks; NaN, and so the loss, where one is not from 0 to 1.

    Eager code on a CPU raises ValueError instead: elsewhere it would have to wait for the numbers.
    """
    wrong_TB = labels_TB.clamp(0, 1) != labels_TB
    if labels_TB.is_cpu and not torch.compiler.is_compiling():
        try:
            wrong = [tasks[i] for i in wrong_TB.any(1).nonzero()]
        except RuntimeError:  # there are no numbers to look at, as under torch.func.vmap
            wrong = []
        if wrong:
            names = ", ".join(wrong)
            raise ValueError(f"labels of binary tasks are 0 to 1, or NaN; not so those of {names}")
    return labels_TB.masked_fill(wrong_TB, torch.nan)


def stacked_losses(logits, labels):
    """Binary cross-entropy of each task [T], the mean over rows whose label is not NaN (0 if none).

    logits: task -> [B], or [T, B]; labels: task -> [B], from 0 to 1 or NaN for not observed.
    """
    logits_TB = stack_logits(logits)
    check_rows("labels", labels, TASKS, logits_TB.shape[1])
    labels_TB = torch.stack([labels[task] for task in TASKS])
    return mean_losses(logits_TB, labels_TB)


def stacked_losses__where(logits, labels):
    """Binary cross-entropy of each task [T], the mean over rows whose label is not NaN (0 if none).

    logits: task -> [B], or [T, B]; labels: task -> [B], from 0 to 1 or NaN for not observed. Rows
    outside of a task's sample space count as not observed.
    """
    logits_TB = stack_logits(logits)
    check_rows("labels", labels, LABELS, logits_TB.shape[1])
    labels_TB = torch.stack([labels[task] for task in TASKS])
    all_B = torch.ones_like(labels_TB[0])
    spaces_TB = torch.stack([labels[WHERE[task]] if task in WHERE else all_B for task in TASKS])
    return mean_losses(logits_TB, labels_TB.where(spaces_TB == 1, torch.nan))


def mean_losses(logits_TB, labels_TB):
    """Binary cross-entropy [T], the mean over rows whose label is not NaN; at least in float32."""
    dtype = torch.promote_types(
        torch.promote_types(logits_TB.dtype, labels_TB.dtype), torch.float32
    )
    logits_TB, labels_TB = logits_TB.to(dtype), labels_TB.to(dtype)
    missing_TB = labels_TB.isnan()
    labels_TB = zero_to_one(labels_TB.masked_fill(missing_TB, 0.0))
    loss_TB = F.binary_cross_entropy_with_logits(logits_TB, labels_TB, reduction="none")
    return loss_TB.masked_fill(missing_TB, 0.0).sum(1) / (~missing_TB).sum(1).clamp(min=1)


def stacked_losses__mixed(logits, labels):
    """The loss of each task [T], the mean over rows whose label is not NaN (0 if none).

    logits: task -> [B], or [T, B]; labels: task -> [B], NaN for not observed.
    """
    logits_TB = stack_logits(logits)
    check_rows("labels", labels, LABELS, logits_TB.shape[1])
    return by_measure(logits_TB, labels)


def stacked_losses__mixed_where(logits, labels):
    """The loss of each task [T], the mean over rows whose label is not NaN (0 if none).

    logits: task -> [B], or [T, B]; labels: task -> [B], NaN for not observed. Rows outside of a
    task's sample space count as not observed.
    """
    logits_TB = stack_logits(logits)
    check_rows("labels", labels, LABELS, logits_TB.shape[1])
    return by_measure(logits_TB, observed(labels))


def stacked_losses__mixed_scales(logits, labels):
    """The loss of each task [T], the mean over rows whose label is not NaN (0 if none).

    logits: task -> [B], or [T, B]; labels: task -> [B], NaN for not observed. Logits of regressions
    are estimates in units of SCALES.
    """
    logits_TB = stack_logits(logits)
    check_rows("labels", labels, LABELS, logits_TB.shape[1])
    return by_measure(logits_TB, scaled(labels))


def stacked_losses__mixed_scales_where(logits, labels):
    """The loss of each task [T], the mean over rows whose label is not NaN (0 if none).

    logits: task -> [B], or [T, B]; labels: task -> [B], NaN for not observed. Rows outside of a
    task's sample space count as not observed. Logits of regressions are estimates in units of
    SCALES.
    """
    logits_TB = stack_logits(logits)
    check_rows("labels", labels, LABELS, logits_TB.shape[1])
    return by_measure(logits_TB, scaled(observed(labels)))


def scaled(labels):
    """Labels in units of SCALES."""
    return labels | {task: labels[task] / scale for task, scale in SCALES.items()}


def by_measure(logits_TB, labels):
    """The loss of each task [T], by the measure that it has in MEASURES."""
    logits = dict(zip(TASKS, logits_TB.unbind(), strict=True))
    result = {}
    for measure, tasks in MEASURES.items():
        loss_T = mean_losses(measure, tasks, logits, labels)
        result.update(zip(tasks, loss_T.unbind(), strict=True))
    return torch.stack([result[task] for task in TASKS])


def mean_losses__mixed(measure, tasks, logits, labels):
    """`measure` of tasks [T], the mean over rows whose label is not NaN; at least in float32."""
    labels_TB = torch.stack([labels[task] for task in tasks])
    logits_TB = torch.stack([logits[task] for task in tasks])
    dtype = torch.promote_types(
        torch.promote_types(logits_TB.dtype, labels_TB.dtype), torch.float32
    )
    logits_TB, labels_TB = logits_TB.to(dtype), labels_TB.to(dtype)
    missing_TB = labels_TB.isnan()
    labels_TB = labels_TB.masked_fill(missing_TB, 0.0)
    if measure is F.binary_cross_entropy_with_logits:
        labels_TB = zero_to_one(labels_TB, tasks)
    loss_TB = measure(logits_TB, labels_TB, reduction="none")
    return loss_TB.masked_fill(missing_TB, 0.0).sum(1) / (~missing_TB).sum(1).clamp(min=1)


def mean_losses__regressions(measure, tasks, logits, labels):
    """`measure` of tasks [T], the mean over rows whose label is not NaN; at least in float32."""
    labels_TB = torch.stack([labels[task] for task in tasks])
    logits_TB = torch.stack([logits[task] for task in tasks])
    dtype = torch.promote_types(
        torch.promote_types(logits_TB.dtype, labels_TB.dtype), torch.float32
    )
    logits_TB, labels_TB = logits_TB.to(dtype), labels_TB.to(dtype)
    missing_TB = labels_TB.isnan()
    loss_TB = measure(logits_TB, labels_TB.masked_fill(missing_TB, 0.0), reduction="none")
    return loss_TB.masked_fill(missing_TB, 0.0).sum(1) / (~missing_TB).sum(1).clamp(min=1)


def losses(logits, labels):
    """The loss of each task, of what `stacked_losses` takes: task -> scalar."""
    return dict(zip(TASKS, stacked_losses(logits, labels).unbind(), strict=True))


def loss(logits, labels):
    """The sum of all tasks' losses, a scalar, of what `stacked_losses` takes."""
    return stacked_losses(logits, labels).sum()  # all weights are 1


def loss__weighted(logits, labels):
    """The weighted sum of all tasks' losses, a scalar, of what `stacked_losses` takes."""
    parts = stacked_losses(logits, labels).split([count for count, _ in RUNS])
    return sum(weight * part_T.sum() for (_, weight), part_T in zip(RUNS, parts, strict=True))
