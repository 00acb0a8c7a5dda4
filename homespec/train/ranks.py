"""Training: what the processes of a group tell each other outside of DDP."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def ranks() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


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


def mean(tensor: Tensor) -> Tensor:
    """The mean over all processes, the same in each of them."""
    count = ranks()
    if count > 1:
        tensor = tensor.contiguous().clone()
        dist.all_reduce(tensor)
        tensor /= count
    return tensor
