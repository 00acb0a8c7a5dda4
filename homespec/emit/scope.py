"""Stage 7, emit: the values in the forward of a layer, both computed and received."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from homespec.emit.block import Attribute, Head, Value
from homespec.emit.layout import Expr, call, literal, sequence, strings, then
from homespec.emit.naming import Naming
from homespec.graph.feature_nodes import INPUT, SPLIT, Columns, Detached
from homespec.graph.nodes import Batch, Port

Reads = tuple[Port, ...]
RESERVED = ("self", "named", "mix", "mix_each", "torch", "F")
"""Names in a layer's forward that are not values."""


class Values:
    """All values of the trunk: of nodes, and of the parts of projections by purpose and node."""

    def __init__(self) -> None:
        """At first there is v alone, as a whole and in two parts."""
        self.of_node: dict[str, Value] = {
            INPUT: Value("", "x", 1, "x", "V"),
            SPLIT: Value("", "v", 1, "v", shape="([1, U, 1], [1, V - U, B])"),
        }
        self.heads: dict[tuple[str, str], Head] = {}
        self._logical: set[str] = set()

    def take(self, logical_name: str) -> None:
        """Record that a module has the weights of this name. AssertionError if another one has."""
        if logical_name in self._logical:
            raise AssertionError(f"{logical_name} would be set twice")
        self._logical.add(logical_name)


class Scope:
    """One layer: its values, its arguments, and the statements that compute the values.

    Values are sliced, never split, because inductor in torch 2.13 loses gradients of `split`: it
    writes their concatenation and a result computed from it into the same buffer
    (tests/test_runtime.py), or overwrites a tensor of which a part is saved for the backward pass
    (tests/test_saved.py).
    """

    def __init__(self, name: str, naming: Naming, values: Values) -> None:
        self.name, self.naming, self.values = name, naming, values
        self.arguments: dict[Value, str] = {}
        self.taken = set(RESERVED)
        self.attributes: set[str] = set()
        self.tuples: dict[tuple[str, ...], str] = {}
        self.pending: dict[Value, Expr] = {}

    def module(self, batch: Batch) -> Attribute:
        """The attribute that holds a batch's module, unique in the layer."""
        return self.attribute(self.naming.module(batch))

    def attribute(self, name: str) -> Attribute:
        """An attribute of the layer, `name` or similar, that no other module has."""
        while name in self.attributes:
            name += "_"
        self.attributes.add(name)
        return Attribute(f"self.{name}")

    def share(self, batches: Iterable[Batch]) -> None:
        """Name the tuples of nodes that the layer's modules need more than once."""
        needed = Counter(places for batch in batches for places in self.naming.tuples(batch))
        for places, times in sorted(needed.items(), key=lambda item: -len(item[0])):
            if times > 1 and len(places) > 1 and not self.naming.is_run_of_tasks(places):
                self.tuples[places] = self.fresh(self._label(places) if self.tuples else "nodes")

    def _label(self, places: tuple[str, ...]) -> str:
        """A name for several places; a word comes before the number of a state."""
        nodes = [self.naming.by_place[place] for place in places]
        label = self.naming.label(nodes)
        return label if len(nodes[0].path) == 1 else f"nodes_{label}"

    def named(
        self, pattern: str, places: tuple[str, ...], count: int = 1, nodes: Expr | None = None
    ) -> Expr:
        """The logical names of all places, `count` for each.

        `nodes` is a variable that holds the places, or some of them at a time.
        """
        for place, i in itertools.product(places, range(count)):
            self.values.take(pattern.format(place, i))
        if len(places) == count == 1 and nodes is None:
            return strings([pattern.format(places[0], 0)])
        nodes = nodes or self.tuples.get(places) or self.naming.nodes(places)
        if count == 1:
            self.naming.counts.add(1)
            return call("named", literal(pattern.format("{}", 0)), nodes)
        self.naming.counts.add(count)
        return call("named", literal(pattern), nodes, str(count))

    def fresh(self, name: str) -> str:
        """The name, or a similar one that no other value of the layer has."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def variable(self, value: Value) -> str:
        """The name of the value here; a value of another layer becomes an argument."""
        if value.scope == self.name:
            return value.name
        if value not in self.arguments:
            self.arguments[value] = self.fresh(value.argument) if self.name else value.name
        return self.arguments[value]

    def define(self, node: str, name: str, size: int, argument: str = "", width: str = "") -> str:
        """Add a value of a node and return its name."""
        value = Value(self.name, self.fresh(name), size, argument, width)
        self.values.of_node[node] = value
        return value.name

    # ------------------------------------------------------------ inputs of batches

    def inputs(self, reads: Sequence[Reads]) -> Expr:
        """The input [G, N, B] of a batch whose members read `reads`; G divides their number.

        Members that read the same value are consecutive, so their reads form runs. If all runs have
        the same length, the G values of the runs suffice: the members that share one are computed
        as one wide product. Unequal runs are expanded.
        """
        found = runs(reads)
        equal = len({length for _, length in found}) == 1
        return self.concatenated([key for key, _ in found] if equal else list(reads))

    def concatenated(self, chosen: Sequence[Reads]) -> Expr:
        """Values along a new first axis; several of them are concatenated into one."""
        parts = [self.stacked([reads[i] for reads in chosen]) for i in range(len(chosen[0]))]
        return parts[0] if len(parts) == 1 else call("torch.cat", sequence(parts, "[]"), dim="1")

    def stacked(self, ports: Sequence[Port], rest: int = 2) -> Expr:
        """The values of `ports` along a new first axis; `rest` counts the axes after it."""
        graph = self.naming.graph
        view = graph[ports[0].node]
        if isinstance(view, Detached):
            inner = self.stacked([graph[port.node].reads[0] for port in ports], rest)
            return then(inner, ".detach()")
        if isinstance(view, Columns):
            return _joined([self._columns(run) for run in self._alike(ports)])
        pieces: list[Expr] = []
        for first, last, times in _repeated_slices(ports):
            piece = self.part(first, last)
            if times > 1 and first == last:
                piece = f"{piece}.expand({times}{', -1' * rest})"
            elif times > 1:
                piece = f"{piece}.repeat_interleave({times}, 0)"
            pieces.append(piece)
        return _joined(pieces)

    def _alike(self, ports: Sequence[Port]) -> list[list[Columns]]:
        """Runs of nodes that are the same columns of values of the same width."""
        graph = self.naming.graph
        nodes = [node for p in ports if isinstance(node := graph[p.node], Columns)]

        def kind(node: Columns) -> tuple[object, int]:
            return (node.slices, graph.width_of(node.reads[0]))

        return [list(run) for _, run in groupby(nodes, key=kind)]

    def _columns(self, nodes: list[Columns]) -> Expr:
        """The same columns of one or more values."""
        node, ports = nodes[0], [node.reads[0] for node in nodes]
        x = self.stacked(ports)
        pieces = [then(x, f"[:, {start}:{end}]") for start, end in node.slices]
        return pieces[0] if len(pieces) == 1 else call("torch.cat", sequence(pieces, "[]"), dim="1")

    def whole(self, ports: Sequence[Port]) -> str | None:
        """The variable whose members are exactly those of `ports`, if there is one."""
        value = self.values.of_node[ports[0].node]
        each = [Port(ports[0].node, i) for i in range(value.size)]
        return self.variable(value) if list(ports) in (each, [Port(ports[0].node)]) else None

    def part(self, first: Port, last: Port) -> str:
        """The slice of a batched value from member `first` to member `last`; only its name for
        all."""
        value = self.values.of_node[first.node]
        if first.member is None or last.member is None:
            return self.variable(value)
        return self._slice(value, first.member, last.member + 1)

    def _slice(self, value: Value, start: int, stop: int) -> str:
        name = self.variable(value)
        return name if (start, stop) == (0, value.size) else f"{name}[{start}:{stop}]"

    def whole_value(self, purpose: str, nodes: Iterable[str]) -> Value | None:
        """The value that holds exactly these nodes' parts of projections, if there is one."""
        pieces = self._pieces(purpose, nodes)
        first = pieces[0]
        whole = len(pieces) == 1 and (first.start, first.count) == (0, first.value.size)
        return first.value if whole else None

    def parts_of_projections(
        self, purpose: str, nodes: Iterable[str]
    ) -> tuple[list[tuple[str, Expr]], Expr]:
        """Nodes' parts of projections along the first axis, and statements that compute them."""
        pieces = self._pieces(purpose, nodes)
        values = dict.fromkeys(piece.value for piece in pieces)
        before = [
            (value.name, self.pending.pop(value)) for value in values if value in self.pending
        ]
        return before, _joined([self._slice(p.value, p.start, p.start + p.count) for p in pieces])

    def flush(self) -> list[tuple[str, Expr]]:
        """Statements that compute values of projections that no node of the layer has read yet."""
        waiting = [(value.name, expr) for value, expr in self.pending.items()]
        self.pending.clear()
        return waiting

    def _pieces(self, purpose: str, nodes: Iterable[str]) -> list[Head]:
        """The places of nodes' parts of projections; consecutive ones are one piece."""
        pieces: list[Head] = []
        for node in nodes:
            head = self.values.heads[purpose, node]
            last = pieces[-1] if pieces else None
            if last and last.value == head.value and last.start + last.count == head.start:
                pieces[-1] = replace(last, count=last.count + head.count)
            else:
                pieces.append(head)
        return pieces


def _joined(pieces: Sequence[Expr]) -> Expr:
    return pieces[0] if len(pieces) == 1 else call("torch.cat", sequence(pieces, "[]"))


def runs(reads: Sequence[Reads]) -> list[tuple[Reads, int]]:
    """Consecutive equal reads with the length of each run."""
    return [(key, len(list(group))) for key, group in groupby(reads)]


def _repeated_slices(ports: Sequence[Port]) -> list[tuple[Port, Port, int]]:
    """Ports as slices of consecutive members, all repeated equally often."""
    slices: list[tuple[Port, Port, int]] = []
    for port, group in groupby(ports):
        times = len(list(group))
        if slices and slices[-1][2] == times and follows(slices[-1][1], port):
            slices[-1] = (slices[-1][0], port, times)
        else:
            slices.append((port, port, times))
    return slices


def follows(left: Port, right: Port) -> bool:
    """Whether `right` is the next member of the same batch."""
    if left.member is None or right.member is None:
        return False
    return left.node == right.node and left.member + 1 == right.member
