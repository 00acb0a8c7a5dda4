"""Carries out a plan: the state of a new model from that of an old one and fresh weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from homespec.analysis.tensors import STATIC, VOCABULARY
from homespec.diff.carry import Carried, Plan, Run
from homespec.migration.starts import Starts

State = Mapping[str, Tensor]

CLOSED = -20.0
"""How far below a gate's other biases that of a new expert starts: its weight is about 2e-9.

This is below the rounding of float32, so outputs do not change. Its gradient is not 0, so it can
grow.
"""

SQUARES = "exp_avg_sq"
"""Adam's mean of squared gradients, whose root it divides by.

Its step count is shared with the parts that are kept. Starting at 0 would divide new parts by
numbers near 0, and their first steps would be several times the learning rate.
"""


def carried_state(plan: Plan, old: State, fresh: State, starts: Starts) -> dict[str, Tensor]:
    """The new model's tensors by logical name.

    `old` is the state of the old model, `fresh` that of the newly initialised one.
    """
    return {
        carried.tensor.name: _carried(carried, old, fresh[carried.tensor.name], starts)
        for carried in plan.carried.values()
    }


def _carried(carried: Carried, old: State, fresh: Tensor, starts: Starts) -> Tensor:
    made = fresh.clone()
    if carried.old is None:
        if carried.was_only and starts.choice != "fresh":
            _open(made, carried, starts)
        return made
    source = old[carried.old.name].to(made.dtype)
    if carried.tensor.key[1] == VOCABULARY:
        return _vocabulary(source, made.shape[1])
    for axis, (parts, runs) in enumerate(zip(carried.tensor.axes, carried.runs, strict=True)):
        is_neutral = starts.input == "zero" if parts.role == "input" else parts.role == "rank"
        if axis == 1 and is_neutral:
            made.index_fill_(axis, _others(parts.size, runs), 0.0)
    _copy(made, source, carried.runs)
    _start_rows(made, carried, starts)
    return made


def _vocabulary(old: Tensor, size: int) -> Tensor:
    """The ids [3, N] of the rows that a table of `size` ids keeps; the last one is repeated."""
    kept = old[:, old[2] <= size] if not old.isnan().any() else old[:, :1]
    kept = kept[:, :size]
    return torch.cat([kept, kept[:, -1:].expand(-1, size - kept.shape[1])], dim=1)


def _start_rows(made: Tensor, carried: Carried, starts: Starts) -> None:
    """The part of the first axis that is new: rows of a table, or choices of a gate."""
    kept = _positions((run.new, run.size) for run in carried.runs[0])
    new = _others(len(made), carried.runs[0])
    role = carried.tensor.axes[0].role
    if role == "choice" and starts.choice != "fresh":
        is_logit = made.dim() == 1 and carried.tensor.key[1] != STATIC
        _add_choices(made, kept, new, starts, is_logit)
    if role == "rows" and starts.row == "mean":
        made[new] = made[kept].mean(0)


def _add_choices(made: Tensor, kept: Tensor, new: Tensor, starts: Starts, is_logit: bool) -> None:
    """The rows of a gate, or its biases, for experts that it did not weigh before.

    What is a bias of logits is far below the others to shut an expert out; else it is 0.
    """
    rows = made[kept]
    if starts.choice == "mean":
        made[new] = rows.mean(0)
    else:
        made[new] = rows.min() + CLOSED if is_logit else 0.0


def _open(made: Tensor, carried: Carried, starts: Starts) -> None:
    """The last layer of a gate whose only expert had the weight 1."""
    (axis, *_) = carried.tensor.axes
    made.zero_()
    if made.dim() == 1 and starts.choice == "closed":
        new = [i for i, part in enumerate(axis.parts) if part.label != carried.was_only]
        made[new] = CLOSED


def _positions(spans: Iterable[tuple[int, int]]) -> Tensor:
    """The positions of spans (start, size)."""
    return torch.cat([torch.arange(start, start + size) for start, size in spans])


def _others(size: int, runs: Iterable[Run]) -> Tensor:
    """The positions of an axis of the new tensor that no run covers."""
    is_new = torch.ones(size, dtype=torch.bool)
    for run in runs:
        is_new[run.new : run.new + run.size] = False
    return is_new.nonzero().squeeze(1)


def carried_moments(plan: Plan, old: State) -> dict[str, Tensor]:
    """The moments of an optimiser, `MOMENT/LOGICAL NAME`, for the new model.

    A moment has the shape of its weight, or one number for each row, or is one number. New parts
    start at 0, but Adam's mean of squares starts at the mean of the other parts. New weights have
    no moments.
    """
    by_name, moments = _carried_from(plan), {}
    for key, moment in old.items():
        kind, _, name = key.partition("/")
        for carried in by_name.get(name, ()):
            moments[f"{kind}/{carried.tensor.name}"] = _moment(carried, kind, moment)
    return moments


def _carried_from(plan: Plan) -> dict[str, list[Carried]]:
    """The tensors of the new model by the name of the tensor that they come from."""
    found: dict[str, list[Carried]] = {}
    for carried in plan.carried.values():
        if carried.old and not carried.tensor.is_buffer:
            found.setdefault(carried.old.name, []).append(carried)
    return found


def _moment(carried: Carried, kind: str, old: Tensor) -> Tensor:
    if old.dim() == 0:
        return old.clone()
    runs = carried.runs[: old.dim()]
    made = torch.zeros(carried.tensor.shape[: old.dim()], dtype=old.dtype)
    if kind == SQUARES:
        made += old.mean()
    _copy(made, old, runs)
    return made


def _copy(made: Tensor, old: Tensor, runs: tuple[tuple[Run, ...], ...]) -> None:
    """The parts of a tensor that are kept, axis by axis."""
    to = [_positions((run.new, run.size) for run in axis) for axis in runs]
    come_from = [_positions((run.old, run.size) for run in axis) for axis in runs]
    made[torch.meshgrid(*to, indexing="ij")] = old[torch.meshgrid(*come_from, indexing="ij")]
