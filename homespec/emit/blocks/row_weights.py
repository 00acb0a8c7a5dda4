"""How much each row counts in the loss of each task: sample weights and sample spaces."""

from contextlib import suppress
from itertools import compress

import torch

from homespec.emit.blocks.checks import check_shapes
from homespec.emit.blocks.constants import OUTSIDE, SAMPLE_WEIGHTS, TASKS, WHERE


def row_weights(labels, weights):
    """The weight of each row for each task [T, B]; 0 where its label is NaN."""
    return sample_weights(labels, weights)


def row_weights__known(labels):
    """The weight of each row for each task [T, B]: 1, or 0 where its label is NaN."""
    return (~torch.stack([labels[task] for task in TASKS]).isnan()).float()


def row_weights__space(labels):
    """The weight of each row for each task [T, B]; 0 where its label is NaN."""
    return space_weights(labels)


def row_weights__weights_space(labels, weights):
    """The weight of each row for each task [T, B]; 0 where its label is NaN."""
    return sample_weights(labels, weights) * space_weights(labels)


def sample_weights(labels, weights):
    """Sample weights [T, B]: 1 for tasks that have none, and 0 where a label is NaN."""
    some = labels[TASKS[0]]
    check_shapes("weight", weights, dict.fromkeys(SAMPLE_WEIGHTS, ()), len(some))
    missing = torch.stack([labels[task] for task in TASKS]).isnan()
    ones = torch.ones_like(some, dtype=torch.float32)
    weights = torch.stack([weights[task] if task in SAMPLE_WEIGHTS else ones for task in TASKS])
    weights = weights.to(torch.promote_types(weights.dtype, torch.float32))
    return checked_weights(weights.masked_fill(missing, 0.0))


def checked_weights(weights):
    """Weights [T, B]; those that are negative or infinite become NaN, and so does the loss.

    Eager code on a CPU raises ValueError instead. Elsewhere, a check would have to wait for the
    values.
    """
    wrong = weights.clamp(0, torch.finfo(weights.dtype).max) != weights
    if weights.is_cpu and not torch.compiler.is_compiling():
        with suppress(RuntimeError):  # torch.func.vmap cannot read values
            if found := ", ".join(compress(TASKS, wrong.any(1).tolist())):
                raise ValueError(f"weights must be finite and at least 0: check those of {found}")
    return weights.masked_fill(wrong, torch.nan)


def space_weights(labels):
    """1 for rows in the sample spaces of tasks [T, B]; 0 outside, or where a label is NaN."""
    inside = torch.ones_like(labels[TASKS[0]])
    parents = torch.stack([labels[WHERE[task]] if task in WHERE else inside for task in TASKS])
    missing = torch.stack([labels[task] for task in TASKS]).isnan()
    return ((parents == 1) & ~missing).float()


def space_weights__outside(labels):
    """1 for rows in the sample spaces of tasks [T, B], and OUTSIDE for rows outside.

    It is 0 where the label of the task is NaN, or that of its parent in WHERE, which defines the
    space.
    """
    inside = torch.ones_like(labels[TASKS[0]])
    parents = torch.stack([labels[WHERE[task]] if task in WHERE else inside for task in TASKS])
    missing = torch.stack([labels[task] for task in TASKS]).isnan() | parents.isnan()
    dtype = torch.promote_types(parents.dtype, torch.float32)
    runs = [parents.new_full((count, 1), value, dtype=dtype) for count, value in OUTSIDE]
    return torch.where(parents == 1, 1.0, torch.cat(runs)).masked_fill(missing, 0.0)


def weighted_means(losses, weights):
    """Weighted means [T] of losses [T, B]; 0 if all weights are 0."""
    total = weights.sum(1)
    counting = losses.masked_fill(weights == 0, 0.0) * weights
    return counting.sum(1) / total.where(total > 0, 1.0)
