"""Training: processes that train together drop different elements, and stay in step otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from homespec.train.distributed import rank, world_size


@contextmanager
def own_masks(drops: bool) -> Iterator[None]:
    """Let this process draw masks of dropout by a seed of its own, if there are any to draw.

    The seeds come from the generators that all processes have alike, and these continue from there
    as if nothing else had been drawn: what is drawn later (pcgrad's orders) is the same everywhere.
    A resumed run has the generators' states, and so the same masks.
    """
    if not drops or world_size() == 1:
        yield
        return
    seed = int(torch.randint(2**62, ()))
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed + rank())
        yield
