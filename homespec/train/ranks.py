"""Training: what the processes of a group compute together outside of DDP."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

RUNNING = ("running_mean", "running_var")


def ranks() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if ranks() > 1 else 0


def gathered(*tensors: Tensor) -> tuple[tuple[Tensor, ...], int]:
    """Each tensor as that of all processes, one after the other, and how many these are.

    The tensors must have the same shape in each process.
    """
    count = ranks()
    if count == 1:
        return tensors, 1
    return tuple(_gather(tensor, count) for tensor in tensors), count


def _gather(tensor: Tensor, count: int) -> Tensor:
    parts = [torch.empty_like(tensor) for _ in range(count)]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def gathered_first(tensor: Tensor) -> Tensor | None:
    """As `gathered`, of one tensor and for the first process alone; the others get None."""
    count = ranks()
    if count == 1:
        return tensor
    tensor = tensor.contiguous()
    parts = [torch.empty_like(tensor) for _ in range(count)] if rank() == 0 else None
    dist.gather(tensor, parts)
    return torch.cat(parts) if parts else None


def mean(tensor: Tensor) -> Tensor:
    """The mean over all processes, the same in each of them."""
    count = ranks()
    if count > 1:
        tensor = tensor.contiguous().clone()
        dist.all_reduce(tensor)
        tensor /= count
    return tensor


def shares(labels: dict[str, Tensor]) -> Tensor | None:
    """What losses [T] of this process are multiplied by, that their mean over all processes be
    the loss of the whole batch; None for a process alone.

    A task's loss is the mean over its rows with a label, and processes have different numbers of
    them: the factor is this process's number by the mean number. Labels are [B], NaN where missing.
    """
    if ranks() == 1:
        return None
    count_T = labelled(labels)
    mean_T = mean(count_T)
    return torch.where(mean_T > 0, count_T / mean_T, 1.0)


def labelled(labels: dict[str, Tensor]) -> Tensor:
    """How many rows of this process have a label of each task, float [T]; labels as above."""
    return (~torch.stack(list(labels.values())).isnan()).sum(1).float()


def average_statistics(model: nn.Module) -> None:
    """Give all processes the mean of their running means and variances; does nothing in one alone.

    Each process normalises by its own rows in training, and so keeps statistics of its own. The
    mean of the means is that of all rows; the variance lacks the part between processes, which is
    1/B of it for B rows a process.
    """
    found = [b for name, b in model.named_buffers() if name.rpartition(".")[2] in RUNNING]
    if ranks() == 1 or not found:
        return
    averaged = mean(torch.cat([buffer.flatten() for buffer in found]))
    parts = torch.split(averaged, [buffer.numel() for buffer in found])
    for buffer, part in zip(found, parts, strict=True):
        buffer.copy_(part.view_as(buffer))
