"""Training: processes that train together drop different elements, and otherwise stay in step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from homespec.train.distributed import rank, world_size


@contextmanager
def own_masks(drops: bool) -> Iterator[None]:
    """Give this process its own seed for dropout masks, if the model has dropout.

    The seeds come from generators that are in the same state in all processes, and stay so: later
    random numbers (pcgrad's orders) are the same everywhere. A resumed run restores the generators'
    states, and so draws the same masks.
    """
    if not drops or world_size() == 1:
        yield
        return
    seed = int(torch.randint(2**62, ()))
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed + rank())
        yield
