"""What the two processes and the single-process reference have in common."""

from __future__ import annotations

import torch
from torch import Tensor

WORLD, BATCH = 2, 24
"""Processes, and examples of a batch of all of them together."""

TABLE_LR, DENSE_LR, EPS = 0.1, 0.05, 1e-8

SPEC = """\
homespec: 1
name: sharded
features:
  user: {id: {buckets: 37}, dim: 8}
  asr: {dense: 5}
  tab: {id: {vocab: 6}, dim: 4}
  duration: {bucketize: [1.5, 5, 20], dim: 8}
  video: {id: {buckets: 101}, dim: 16}
  text: {dense: 2}
groups:
  watch: [long_view, finish]
  interaction: [like, follow]
tasks: {long_view: {}, finish: {}, like: {}, follow: {}}
experts: {hidden: [16], width: 8, norm: NORM}
"""
TASKS = ("long_view", "finish", "like", "follow")


def spec(norm: str) -> str:
    """The spec with the experts' norm."""
    return SPEC.replace("NORM", norm)


def features(step: int, rows: int = BATCH) -> dict[str, Tensor]:
    """A batch of one step, with every way in which a value may be missing or unknown."""
    g = torch.Generator().manual_seed(step)
    found = {
        "user": torch.randint(-1, 2**62, (rows,), generator=g),
        "asr": torch.randn(rows, 5, generator=g),
        "tab": torch.randint(-3, 9, (rows,), generator=g),
        "duration": torch.rand(rows, generator=g) * 25,
        "video": torch.randint(-1, 300, (rows,), generator=g),
        "text": torch.randn(rows, 2, generator=g),
    }
    found["user"][:3] = torch.tensor([-1, -7, 2**63 - 1])
    found["asr"][0, 1] = found["duration"][1] = float("nan")
    found["duration"][2] = 5.0  # a boundary belongs to the bucket above it
    return found


def labels(step: int, rows: int = BATCH) -> dict[str, Tensor]:
    """Labels by task, all observed: the mean over all rows is the mean over the ranks' means."""
    g = torch.Generator().manual_seed(1000 + step)
    return {task: torch.randint(0, 2, (rows,), generator=g).float() for task in TASKS}


def part(tensors: dict[str, Tensor], rank: int) -> dict[str, Tensor]:
    """The rows of one rank."""
    return {name: tensor.chunk(WORLD)[rank] for name, tensor in tensors.items()}
