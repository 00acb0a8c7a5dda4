"""A plan as lines for the user: the effect on the model and on each weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from homespec.analysis.axes import Part
from homespec.analysis.tensors import Labels, Tensor
from homespec.diagnostics.render.terminal import printable
from homespec.diff.carry import Kind
from homespec.diff.compare import Comparison
from homespec.diff.summary import lines, summarise
from homespec.graph.feature_nodes import Columns, Detached, Input, Reading
from homespec.graph.identity import SAME
from homespec.graph.nodes import FeatureGate, Mix, Node, Port


def plan_lines(comparison: Comparison, kinds: Sequence[Kind] = ("resized", "new")) -> Iterator[str]:
    """The summary of a change, then by name the weights of these kinds and the dropped ones."""
    for line in lines(summarise(comparison)):
        yield printable(line)
    plan = comparison.plan
    for kind in kinds:
        for carried in plan.of(kind):
            was = f", was {list(carried.old.shape)}" if carried.old else ""
            yield (
                f"  {kind:8} {carried.tensor.name} {list(carried.tensor.shape)}{was}"
                f"  {_place(carried.tensor.node)}"
            )
    for tensor in plan.dropped:
        yield f"  dropped  {tensor.name} {list(tensor.shape)}"


def restarts(comparison: Comparison) -> Iterator[str]:
    """A warning for each line of the new spec whose weights exist in both models but share no part.

    Such weights start fresh: those with another width, those of a hash with other buckets, and
    those of a layer whose inputs are all different. The reported line is the one that gives the
    width, even for a layer that only reads it.
    """
    plan, causes = comparison.plan, _Causes(comparison)
    before = {tensor.key: tensor for tensor in plan.dropped}
    by_line: dict[str, list[Tensor]] = {}
    for carried in plan.of("new"):
        tensor = carried.tensor
        if tensor.key in before:
            place = _place(causes.of(tensor, before[tensor.key]))
            by_line.setdefault(place, []).append(tensor)
    for place, restarted in by_line.items():
        first, others = restarted[0], len(restarted) - 1
        of_others = f"{others} more weights" if others > 1 else "another weight"
        more = f", and so {'do' if others > 1 else 'does'} {of_others}" if others else ""
        yield f"{place}: {_changed(first, before[first.key])}, and starts fresh{more}"


def _changed(new: Tensor, old: Tensor) -> str:
    if new.shape == old.shape:
        return f"{new.name} keeps its shape {list(new.shape)}, but its parts belong to other things"
    return f"{new.name} is {list(new.shape)}, was {list(old.shape)}"


class _Causes:
    """The nodes whose widths give others another shape."""

    def __init__(self, comparison: Comparison) -> None:
        self.graph = comparison.pair.new.graph
        self.labels = Labels(self.graph, SAME)

    def of(self, tensor: Tensor, old: Tensor) -> Node:
        """The node of the tensor itself, unless only the width of its input differs."""
        sizes = {part.label: part.size for axis in old.axes for part in axis.parts}
        parts = [part for axis in tensor.axes for part in axis.parts]
        changed = {part for part in parts if sizes.get(part.label) != part.size}
        reads = {port: changed & set(self.labels.value(port)) for port in tensor.node.reads}
        others = [port for port, parts_of_it in reads.items() if parts_of_it]
        if not others or changed - set().union(*reads.values()):
            return tensor.node
        return self._producer(others[0], changed)

    def _producer(self, port: Port, changed: set[Part]) -> Node:
        """The node whose value has another width for these parts."""
        node = self.graph[port.node]
        if isinstance(node, Mix):
            return self.graph[node.sets[0].node]
        if isinstance(node, Input | Reading | FeatureGate | Columns | Detached):
            for read in node.reads:
                if changed & set(self.labels.value(read)):
                    return self._producer(read, changed)
        return node


def _place(node: Node) -> str:
    return f"{printable(node.span.file)}:{node.span.start.line}"
