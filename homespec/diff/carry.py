"""Where each weight of the new model comes from: parts of old weights with the same labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from homespec.analysis.axes import Axis, Label, Part
from homespec.analysis.tensors import Labels, Tensor, tensors_of
from homespec.graph import Graph
from homespec.graph.identity import SAME, Key, Renames
from homespec.graph.nodes import FeatureGate, Gate, Mix

MISSING = ("missing",)
"""The row for missing values. A table is not carried over for this row alone."""

Kind = Literal["kept", "reordered", "resized", "new"]


class Run(NamedTuple):
    """`size` positions of an axis: from `new` in the new tensor, from `old` in the old one."""

    new: int
    old: int
    size: int


@dataclass(frozen=True)
class Carried:
    """A tensor of the new model, the old tensor that it comes from, and the kept runs of each axis.

    If there is no old tensor, it is new and `runs` is empty. In the last layer of a gate that
    weighed only one expert, and so had no weights, `was_only` is that expert.
    """

    tensor: Tensor
    old: Tensor | None = None
    runs: tuple[tuple[Run, ...], ...] = ()
    was_only: Label = ()

    @cached_property
    def kind(self) -> Kind:
        """`kept` if at most the name differs; `reordered`; `resized` if only a part is kept."""
        if self.old is None:
            return "new"
        axes = list(zip(self.runs, self.tensor.axes, self.old.axes, strict=True))
        if all(runs == (Run(0, 0, new.size),) and new.size == old.size for runs, new, old in axes):
            return "kept"
        whole = all(kept(runs) == new.size == old.size for runs, new, old in axes)
        return "reordered" if whole else "resized"


def kept(runs: tuple[Run, ...]) -> int:
    """Number of positions that are kept."""
    return sum(run.size for run in runs)


@dataclass(frozen=True)
class Plan:
    """The tensors of the new model in order, and those of the old model that it does not use.

    Every tensor of both models appears once: as a tensor, as the old one of a tensor, or dropped.
    """

    carried: dict[tuple[Key, str], Carried]
    dropped: tuple[Tensor, ...]

    def of(self, *kinds: Kind) -> list[Carried]:
        """The tensors of these kinds."""
        return [carried for carried in self.carried.values() if carried.kind in kinds]


def plan(old: Graph, new: Graph, renames: Renames = SAME) -> Plan:
    """Plan how the weights of the old model become those of the new one."""
    before, after = tensors_of(old, renames), tensors_of(new)
    only = dict(_only_choices(old, renames))
    carried = {
        key: _carried(tensor, before.get(key), only.get(key[0], ()))
        for key, tensor in after.items()
    }
    used = {key for key, one in carried.items() if one.old}
    return Plan(carried, tuple(tensor for key, tensor in before.items() if key not in used))


def _only_choices(old: Graph, renames: Renames) -> Iterator[tuple[Key, Label]]:
    """The gates that weigh only one thing, and this thing."""
    labels = Labels(old, renames)
    for gate in old.of(Gate):
        if gate.choices == 1:
            (mix,) = old.readers(gate.name)
            assert isinstance(mix, Mix)
            (part,) = labels.experts(mix.sets).parts
            yield renames.key(gate), part.label
    for feature_gate in old.of(FeatureGate):
        if feature_gate.loras == 1:
            yield renames.key(feature_gate), ("lora", 0)


def _carried(tensor: Tensor, old: Tensor | None, only: Label) -> Carried:
    if old is None or len(old.axes) != len(tensor.axes):
        choices = {part.label for part in tensor.axes[0].parts}
        return Carried(tensor, was_only=only if only in choices else ())
    runs = tuple(_runs(a, b) for a, b in zip(old.axes, tensor.axes, strict=True))
    return Carried(tensor, old, runs) if all(runs) else Carried(tensor)


def _runs(old: Axis, new: Axis) -> tuple[Run, ...]:
    """The common parts of two axes, neighbours joined; empty if only missing values are common."""
    starts = {part.label: (start, part.size) for start, part in _starts(old)}
    runs: list[Run] = []
    only_missing = True
    for start, part in _starts(new):
        before, size = starts.get(part.label, (0, 0))
        if size != part.size and not part.grows:
            continue
        run = Run(start, before, min(size, part.size))
        only_missing &= part.label == MISSING or not run.size
        if runs and _follows(runs[-1], run):
            runs[-1] = Run(runs[-1].new, runs[-1].old, runs[-1].size + run.size)
        elif run.size:
            runs.append(run)
    return () if only_missing else tuple(runs)


def _follows(first: Run, second: Run) -> bool:
    return (first.new + first.size, first.old + first.size) == (second.new, second.old)


def _starts(axis: Axis) -> Iterator[tuple[int, Part]]:
    start = 0
    for part in axis.parts:
        yield start, part
        start += part.size
