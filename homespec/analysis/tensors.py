"""The tensors of a checkpoint, with labels for the parts of their axes.

An axis is a sequence of parts: columns of a first layer belong to features or states, rows of a
gate to experts, rows of a table to ids or intervals. Parts of two specs with the same label mean
the same, wherever they are in the tensor, so weights are matched by labels alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from homespec.analysis.axes import Axis, Label, Part, channels, whole
from homespec.graph import Graph
from homespec.graph.feature_nodes import Columns, Detached, Feature, Input, Reading
from homespec.graph.identity import SAME, Key, Renames
from homespec.graph.nodes import (
    ExpertSet,
    FeatureGate,
    FusedFeatureGate,
    Gate,
    Mix,
    Node,
    Port,
    SelfGate,
    Tower,
)
from homespec.graph.sequences import Dien, Din, Sequence, Sim, Twin


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor by logical name. `key` identifies it in both specs, `node` is the node that owns it.

    `is_buffer` distinguishes statistics, boundaries and scalings from trained weights. `part` is
    the index of the expert or LoRA that it belongs to, or -1.
    """

    name: str
    key: tuple[Key, str]
    node: Node
    axes: tuple[Axis, ...]
    is_buffer: bool = False
    part: int = -1

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of its axes."""
        return tuple(axis.size for axis in self.axes)

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def tensors_of(graph: Graph, renames: Renames = SAME) -> dict[tuple[Key, str], Tensor]:
    """The tensors of a model's logical state by key. Labels use the names of the new spec."""
    labels = Labels(graph, renames)
    return {tensor.key: tensor for node in graph for tensor in _tensors(node, labels)}


def _tensors(node: Node, labels: Labels) -> Iterator[Tensor]:
    key = labels.renames.key(node)
    for own in own_tensors(node, labels):
        full = f"{node.name}.{own.name}"
        yield Tensor(full, (key, own.name), node, own.axes, own.is_buffer, own.part)


def own_tensors(node: Node, sizes: Sizes) -> Iterator[Own]:
    """The tensors of one node: labelled if `sizes` is a `Labels`, else only with their shapes."""
    if type(node) in OWN:
        yield from OWN[type(node)](node, sizes)


class Sizes:
    """Lengths of axes, which a node knows without its graph."""

    renames = SAME

    def read(self, ports: Iterable[Port], width: int) -> Axis:
        """The input of a layer: concatenated values with this total width."""
        return whole("input", width)

    def choices(self, gate: Gate) -> Axis:
        """The experts that a gate weighs."""
        return whole("choice", gate.choices)

    def rows(self, feature: Feature) -> Axis:
        """The rows of a table."""
        return whole("rows", feature.rows)

    def shared(self, node: Sequence, purpose: str) -> tuple[Part, ...]:
        """Embeddings of the fields of events that the candidate shares."""
        fields = node.fields[: node.shared]
        return tuple(Part((purpose, self.renames.feature(f.name)), f.width) for f in fields)

    def event(self, node: Sequence) -> tuple[Part, ...]:
        """Embeddings of all fields of an event."""
        return (*self.shared(node, "event"), *self.rest(node))

    def rest(self, node: Sequence) -> tuple[Part, ...]:
        """Embeddings of the fields that only events have."""
        return tuple(Part(("rest", f.name), f.width) for f in node.fields[node.shared :])


class Labels(Sizes):
    """The parts of the values of a graph."""

    def __init__(self, graph: Graph, renames: Renames) -> None:
        self.graph, self.renames = graph, renames

    def value(self, port: Port) -> tuple[Part, ...]:
        """The parts of a value, in order."""
        node = self.graph[port.node]
        match node:
            case Input() | Reading():
                return tuple(part for read in node.reads for part in self.value(read))
            case Feature():
                _, *label = self.renames.key(node)
                return (Part(("feature", *label), node.width),)
            case Sequence():
                return self._sequence(node)
            case FeatureGate() | Detached():
                return self.value(node.reads[0])
            case Columns():
                return tuple(p for port in self.graph.features_of(node) for p in self.value(port))
        assert isinstance(node, Mix)
        return (Part(("state", node.layer, self.renames.place(node.place)), node.width),)

    def read(self, ports: Iterable[Port], width: int) -> Axis:
        """The columns of each feature or state; repeated ones have labels of their own."""
        times: Counter[Label] = Counter()
        parts = []
        for part in (part for port in ports for part in self.value(port)):
            seen = times[part.label]
            parts.append(part._replace(label=("again", seen, *part.label)) if seen else part)
            times[part.label] += 1
        return Axis("input", tuple(parts))

    def choices(self, gate: Gate) -> Axis:
        """The experts of its set. All mixtures that read a self gate use it for the same set."""
        mix = self.graph.readers(gate.name)[0]
        assert isinstance(mix, Mix)
        if not isinstance(gate, SelfGate):
            return self.experts(mix.sets)
        position = next(r.position for r in mix.residuals if r.gate.node == gate.name)
        return self.experts(mix.sets[position : position + 1])

    def experts(self, sets: Iterable[Port]) -> Axis:
        """The experts of sets, one part each."""
        parts = []
        for port in sets:
            node = self.graph[port.node]
            assert isinstance(node, ExpertSet)
            place = self.renames.place(node.place)
            parts += [Part(("expert", node.layer, place, k), 1) for k in range(node.count)]
        return Axis("choice", tuple(parts))

    def rows(self, feature: Feature) -> Axis:
        """One row for missing values, then those of ids, hashes or intervals."""
        if feature.crossed:
            return Axis("rows", (Part(("missing",), 1), self._pairs(feature)))
        return Axis("rows", tuple(_rows(feature)))

    def _pairs(self, cross: Feature) -> Part:
        """All pairs: a row belongs to others if an id is another one, or is numbered otherwise."""
        label: list[str | int] = ["pairs", cross.rows - 1]
        for name in cross.crossed:
            node = self.graph[f"features.{name}"]
            assert isinstance(node, Feature)
            label += [self.renames.feature(name), *node.texts]
        return Part(tuple(label), cross.rows - 1)

    def _sequence(self, node: Sequence) -> tuple[Part, ...]:
        name = self.renames.feature(node.short)
        if isinstance(node.encoder, Dien | Twin):
            return (Part(("sequence", name), node.width),)
        heads = node.encoder.heads if isinstance(node.encoder, Sim) else 1
        return tuple(
            Part(("sequence", name, head, *part.label), part.size)
            for head in range(heads)
            for part in self.event(node)
        )


VOCABULARY = "vocabulary"
"""The label of the vocabulary that is fitted to a feature."""


STATIC = "weights"
"""What the parameters of a static self gate are called, which are its weights as they are."""


class Own(NamedTuple):
    """A tensor of one node, by its name within the node."""

    name: str
    axes: tuple[Axis, ...]
    is_buffer: bool = False
    part: int = -1


def _linear(name: str, out: Axis, read: Axis, bias: bool = True) -> Iterator[Own]:
    yield Own(f"{name}.weight", (out, read))
    if bias:
        yield Own(f"{name}.bias", (out,))


def _mlp(
    read: Axis,
    widths: tuple[int, ...],
    last: Axis,
    activation: str,
    last_bias: bool = True,
    norm: str = "none",
) -> Iterator[Own]:
    """The layers of an MLP with these widths; `last` labels the output of the last one."""
    for i, (_, width) in enumerate(pairwise(widths)):
        is_last = i == len(widths) - 2
        out = last if is_last else channels(f"hidden{i}", width)
        bias = last_bias if is_last else norm != "batch"
        yield from _linear(f"linears.{i}", out, read, bias)
        if not is_last:
            yield from _norm(f"hidden.{i}.norm", norm, out)
        if activation == "prelu" and not is_last:
            yield _slope(f"hidden.{i}.act")
        read = out


def _norm(name: str, norm: str, width: Axis) -> Iterator[Own]:
    """The weights and statistics of a norm."""
    if norm != "none":
        yield Own(f"{name}.weight", (width,))
        yield Own(f"{name}.bias", (width,))
    if norm == "batch":
        yield from _statistics(name, width)


def _slope(name: str) -> Own:
    """The slope of a PReLU."""
    return Own(f"{name}.weight", (channels("slope", 1),))


def _feature(node: Feature, sizes: Sizes) -> Iterator[Own]:
    if node.rows and not node.table:
        yield Own("weight", (sizes.rows(node), channels("dim", node.width)))
    if node.fitted and not node.table:
        yield Own("boundaries", (channels("quantiles", node.fitted),), is_buffer=True)
    if node.words and not node.table:
        words = Axis("channels", (Part(("words",), node.words, grows=True),))
        yield Own(VOCABULARY, (channels("word", 3), words), is_buffer=True)
    if node.scaled:
        yield Own("scaling", (channels(node.scale, 2),), is_buffer=True)
    numbers = channels("numbers", node.numbers)
    if node.learned:
        yield Own("missing", (numbers,))
    if node.projected:
        yield from _linear("projection", channels("width", node.width), numbers)


def _rows(node: Feature) -> Iterator[Part]:
    yield Part(("missing",), 1)
    if node.source == "id":
        if node.texts:
            yield from (Part(("text", text), 1) for text in node.texts)
            return
        rows = node.rows - 1
        if node.words:
            yield Part(("words",), rows, grows=True)
            return
        yield Part(("hash", rows), rows) if node.hashed else Part(("ids",), rows, grows=True)
    elif node.fitted:
        yield Part(("quantiles",), node.fitted + 1)
    else:
        ends = (-math.inf, *node.boundaries, math.inf)
        yield from (Part(("interval", low, high), 1) for low, high in pairwise(ends))


def _feature_gate(node: FeatureGate, sizes: Sizes) -> Iterator[Own]:
    x = sizes.read(node.reads[:1], node.width)
    read = sizes.read(node.reading, node.read_width)
    if node.loras > 1:
        loras = Axis("choice", tuple(Part(("lora", i), 1) for i in range(node.loras)))
        yield from _linear("router", loras, read)
    rank = Axis("rank", (Part(("rank",), node.rank, grows=True),))
    bias = node.activation != "none"
    for i in range(node.loras):
        for own in _linear(f"loras.{i}.down", rank, read, bias):
            yield own._replace(part=i)
        for own in _linear(f"loras.{i}.up", Axis("channels", x.parts), rank, bias):
            yield own._replace(part=i)


def _experts(node: ExpertSet, sizes: Sizes) -> Iterator[Own]:
    for k in range(node.count):
        ports = node.reads[k : k + 1] if len(node.reads) > 1 else node.reads
        for own in expert_tensors(node, sizes.read(ports, node.widths[0])):
            yield own._replace(name=f"{k}.{own.name}", part=k)


def expert_tensors(node: ExpertSet, read: Axis) -> Iterator[Own]:
    """The tensors of one expert of a set."""
    width = channels("width", node.width)
    yield from _mlp(read, node.widths, width, node.hidden_activation, node.last_bias)
    yield from _norm("norm", node.norm, width)
    if node.activation == "dice":
        yield Own("dice.alpha", (width,))
        yield from _statistics("dice", width)
    if node.activation == "prelu":
        yield _slope("act")


def _statistics(name: str, width: Axis) -> Iterator[Own]:
    yield Own(f"{name}.running_mean", (width,), is_buffer=True)
    yield Own(f"{name}.running_var", (width,), is_buffer=True)


def _gate(node: Gate, sizes: Sizes) -> Iterator[Own]:
    if node.is_static:
        yield Own(STATIC if isinstance(node, SelfGate) else "bias", (sizes.choices(node),))
    elif node.has_weights:
        read = sizes.read(node.reads, node.widths[0])
        yield from _mlp(read, node.widths, sizes.choices(node), node.hidden_activation)


def _tower(node: Tower, sizes: Sizes) -> Iterator[Own]:
    read = sizes.read(node.reads, node.widths[0])
    logit = channels("logit", 1)
    yield from _mlp(read, node.widths, logit, node.activation, norm=node.norm)


def _sequence(node: Sequence, sizes: Sizes) -> Iterator[Own]:
    for own in _encoder(node, sizes):
        yield own._replace(name=f"encoder.{own.name}")


def _encoder(node: Sequence, sizes: Sizes) -> Iterator[Own]:
    q = Axis("input", sizes.shared(node, "query"))
    event, rest = Axis("input", sizes.event(node)), Axis("input", sizes.rest(node))
    match node.encoder:
        case Din() as din:
            compared = (sizes.shared(node, purpose) for purpose in ("q", "k", "q-k", "q*k"))
            read = Axis("input", (*(p for parts in compared for p in parts), *rest.parts))
            yield from _din(din, read)
        case Dien(width=h):
            gates, states = channels("gates", 3 * h), channels("state", h)
            for gru, read in (("extractor", event), ("evolution", states)):
                yield from _linear(f"{gru}.inputs", gates, read)
                yield from _linear(f"{gru}.states", gates, states, bias=False)
            yield from _linear("attention", states, q, bias=False)
        case Sim(width=width, heads=heads):
            wide = channels(f"{heads} heads", width)
            yield from _linear("query", wide, q, bias=False)
            yield from _linear("key", wide, event, bias=False)
        case Twin(width=width, heads=heads):
            wide = channels(f"{heads} heads", width)
            yield from _linear("query", wide, q, bias=False)
            yield from _linear("key", wide, q, bias=False)
            if rest.parts:
                yield from _linear("cross", channels("heads", heads), rest, bias=False)
            yield from _linear("value", wide, event, bias=False)
            yield from _linear("out", channels("width", width), wide, bias=False)


def _din(din: Din, read: Axis) -> Iterator[Own]:
    for i, width in enumerate(din.hidden):
        out = channels(f"hidden{i}", width)
        yield from _linear(f"layers.{i}", out, read)
        if din.activation == "dice":
            yield Own(f"layers.{i}.dice.alpha", (out,))
            yield from _statistics(f"layers.{i}.dice", out)
        if din.activation == "prelu":
            yield _slope(f"layers.{i}.act")
        read = out
    yield from _linear("out", channels("weight", 1), read, bias=not din.softmax)


OWN: dict[type[Node], Callable[..., Iterator[Own]]] = {
    Feature: _feature,
    Sequence: _sequence,
    FeatureGate: _feature_gate,
    FusedFeatureGate: _feature_gate,
    ExpertSet: _experts,
    Gate: _gate,
    SelfGate: _gate,
    Tower: _tower,
}
