"""What the two processes and the single-process reference have in common."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import homespec
from homespec.api import LoadedSpec
from homespec.schema.input_tensors import InputTensor, input_tensors

ROOT = Path(__file__).parents[2]
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
KINDS = """\
homespec: 1
name: kinds
features:
  user: {id: {buckets: 37}, dim: 8}
  friend: {table: user}
  video: {id: {buckets: 101}, dim: 16}
  last: {table: video}
  tag: {id: {vocab: 2}, dim: 8}
  age: {bucketize: {quantiles: 5}, dim: 8}
  price: {bucketize: {quantiles: 4}, dim: 4}
  asr: {dense: 5, project: 6, missing: learned}
  user_tag: {cross: {of: [user, tag], buckets: 40}, dim: 8}
  pair: {cross: {of: [last, friend], buckets: 60}, dim: 4}
  text: {dense: 2}
  tags: {table: tag, list: {max_len: 4, pool: mean, weights: scores}}
  brands: {id: {buckets: 30}, dim: 8, list: {max_len: 3, pool: max}}
  seen:
    sequence:
      of: [video, tag, age]
      with: {long: {id: {vocab: 2}, dim: 4}, delay: {bucketize: [0.5, 2], dim: 4}, text: {dense: 3}}
      max_len: 6
      encoder: {din: {activation: relu}}
  mean: {sequence: {of: [last], max_len: 4, encoder: mean}}
  drift: {sequence: {of: [video], max_len: 3, encoder: dien}}
  same: {sequence: {of: [video, tag], max_len: 8, encoder: {sim: {search: hard, by: tag, top: 2}}}}
  near:
    sequence:
      of: [tag, video]
      with: {long: {id: {vocab: 2}, dim: 8}}
      max_len: 8
      encoder: {sim: {search: soft, top: 3}}
  twin: {sequence: {of: [age, video], max_len: 8, encoder: {twin: {top: 3, heads: 2, width: 8}}}}
groups:
  watch: [long_view, finish]
  interaction: [like, follow]
tasks: {long_view: {}, finish: {}, like: {}, follow: {}}
experts: {hidden: [16], width: 8, norm: layer}
"""
"""Every kind of feature and encoder, and nothing that depends on who else is in the batch."""

FLAGSHIP = ROOT / "specs" / "kuairand.yaml"
BY_ROW = ("experts.norm=layer", "features.history.sequence.encoder={din: {activation: relu}}")
"""Overrides that take batch statistics away."""

SPECS = ("layer", "batch", "kinds", "flagship", "flagship_by_row")
TASKS = ("long_view", "finish", "like", "follow")


def spec(norm: str) -> str:
    """The spec with the experts' norm."""
    return SPEC.replace("NORM", norm)


def load(name: str) -> LoadedSpec:
    """One of SPECS."""
    if name.startswith("flagship"):
        return homespec.load(FLAGSHIP, BY_ROW if name.endswith("by_row") else ())
    return homespec.loads(KINDS if name == "kinds" else spec(name))


def batch(loaded: LoadedSpec, step: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features and labels of one step."""
    if loaded.name == "sharded":
        return features(step), labels(step)
    g = torch.Generator().manual_seed(step)
    columns = {tensor.name: values(tensor, g) for tensor in input_tensors(loaded)}
    for tensor in input_tensors(loaded):
        if tensor.length:
            lengths = torch.randint(0, tensor.length + 1, (BATCH, 1), generator=g)
            if step == 1:
                lengths[BATCH // 2 :] = 0  # the second rank sees no event
            there = torch.arange(tensor.length) < lengths
            there &= torch.rand(there.shape, generator=g) > 0.1
            each = there.unsqueeze(-1) if tensor.width else there
            columns[tensor.name] = columns[tensor.name].where(
                each, -1 if tensor.kind == "id" else torch.nan
            )
    return columns, labels(step, tuple(loaded.tasks))


def values(tensor: InputTensor, generator: torch.Generator) -> Tensor:
    """Those of one tensor: few ids, so that they meet again; some missing, some unknown."""
    shape = (
        BATCH,
        *([tensor.length] if tensor.length else []),
        *([tensor.width] if tensor.width else []),
    )
    if tensor.kind == "id":
        return torch.randint(-2, (tensor.vocab or 150) + 2, shape, generator=generator)
    numbers = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    numbers[torch.rand(shape, generator=generator) < 0.1] = torch.nan
    if tensor.kind == "vector":
        numbers[::5] = torch.nan
        return numbers.float()
    return numbers


def features(step: int) -> dict[str, Tensor]:
    """A batch of one step, with every way in which a value may be missing or unknown."""
    g = torch.Generator().manual_seed(step)
    columns = {
        "user": torch.randint(-1, 2**62, (BATCH,), generator=g),
        "asr": torch.randn(BATCH, 5, generator=g),
        "tab": torch.randint(-3, 9, (BATCH,), generator=g),
        "duration": torch.rand(BATCH, generator=g) * 25,
        "video": torch.randint(-1, 300, (BATCH,), generator=g),
        "text": torch.randn(BATCH, 2, generator=g),
    }
    columns["user"][:3] = torch.tensor([-1, -7, 2**63 - 1])
    columns["asr"][0, 1] = columns["duration"][1] = float("nan")
    columns["duration"][2] = 5.0  # a boundary belongs to the bucket above it
    return columns


def labels(step: int, tasks: tuple[str, ...] = TASKS) -> dict[str, Tensor]:
    """Labels by task, all observed: the mean over all rows is the mean over the ranks' means."""
    g = torch.Generator().manual_seed(1000 + step)
    return {task: torch.randint(0, 2, (BATCH,), generator=g).float() for task in tasks}


def part(tensors: dict[str, Tensor], rank: int) -> dict[str, Tensor]:
    """The rows of one rank."""
    return {name: tensor.chunk(WORLD)[rank] for name, tensor in tensors.items()}
