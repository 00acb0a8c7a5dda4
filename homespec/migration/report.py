"""A plan in lines for the user: what becomes of the model, and of which weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from homespec.analysis.tensors import Tensor
from homespec.diagnostics.render.terminal import printable
from homespec.diff.carry import Carried, Kind, Plan
from homespec.diff.compare import Comparison
from homespec.diff.summary import lines, summarise


def plan_lines(comparison: Comparison, kinds: Sequence[Kind] = ("resized", "new")) -> Iterator[str]:
    """The summary of a change, then by name the weights of these kinds, and those that are gone."""
    for line in lines(summarise(comparison)):
        yield printable(line)
    plan = comparison.plan
    for kind in kinds:
        for carried in plan.of(kind):
            was = f", was {list(carried.old.shape)}" if carried.old else ""
            yield (
                f"  {kind:8} {carried.tensor.name} {list(carried.tensor.shape)}{was}"
                f"  {_place(carried.tensor)}"
            )
    for tensor in plan.dropped:
        yield f"  dropped  {tensor.name} {list(tensor.shape)}"


def restarts(plan: Plan) -> Iterator[str]:
    """A warning for each line of the new spec whose weights both models have, in other shapes.

    Such weights start fresh: those of another width, and of a hash with other buckets.
    """
    before = {tensor.key: tensor for tensor in plan.dropped}
    by_line: dict[str, list[Carried]] = {}
    for carried in plan.of("new"):
        if carried.tensor.key in before:
            by_line.setdefault(_place(carried.tensor), []).append(carried)
    for place, restarted in by_line.items():
        first = restarted[0].tensor
        others = len(restarted) - 1
        more = f", and so do {others} more weights of this line" if others else ""
        yield (
            f"{place}: {first.name} is {list(first.shape)}, was {list(before[first.key].shape)},"
            f" and starts fresh{more}"
        )


def _place(tensor: Tensor) -> str:
    span = tensor.node.span
    return f"{printable(span.file)}:{span.start.line}"
