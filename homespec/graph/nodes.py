"""The nodes of a multi-task model.

A node names the values it reads (`reads`), so edges never disagree with nodes. Node names are the
logical names of the weights. Every node has the span of the YAML that defines it. Shapes: B batch,
V width of the input v, N width of what a node reads, K experts of a set, D expert width, L LoRAs, R
rank, C choices of a gate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from homespec.diagnostics import Span

Activation = Literal["relu", "swish", "gelu", "tanh", "leaky_relu", "prelu"]
"""The elementwise activations."""


class Port(NamedTuple):
    """A value: the output of `node`, or of its member `member` if the node is a batch."""

    node: str
    member: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Base class of nodes: a name, the values that they read, and the YAML that defines them."""

    kind: ClassVar[str] = "node"
    name: str
    reads: tuple[Port, ...] = ()
    span: Span

    def renamed(self, move: Callable[[Port], Port]) -> Node:
        """This node with every value that it reads replaced by `move(value)`."""
        return dataclasses.replace(self, reads=tuple(map(move, self.reads)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed(Node):
    """A node of one layer, at one node of the task tree.

    `place` is that node's name, or `name.0`, `name.1`, … where it has several states. `level` is
    its depth: that of a group; all tasks are below the deepest group. `parent` is the name of the
    node above it, "" above the root.
    """

    layer: str
    place: str
    level: int = 0
    parent: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """`place` split into the name of the tree node and, if it has several states, a number."""
        return tuple(self.place.split("."))

    @property
    def identifier(self) -> str:
        """`place` as a unique part of an identifier; names start with letters."""
        return "_".join(reversed(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureGate(Placed):
    """x [B, N] -> x ⊙ Fea_Gate(x) [B, N] (HOME.md section 4). One LoRA needs no router.

    It reads x, then the values that the gate is computed of, `read_width` wide together, unless
    that is x alone. In an optimised graph it reads the projection that makes its low ranks and its
    router in place of them. With an `activation` its one LoRA is an MLP with biases.
    """

    kind: ClassVar[str] = "feature_gate"
    width: int
    read_width: int
    activation: Literal["none", "relu"] = "none"
    loras: int
    rank: int
    mix: Literal["after_sigmoid", "before_sigmoid"]

    @property
    def reading(self) -> tuple[Port, ...]:
        """The values that the gate is computed of."""
        return self.reads[1:] or self.reads


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedFeatureGate(FeatureGate):
    """A feature gate that a special kernel computes on a GPU, with the same values."""

    kind: ClassVar[str] = "fused_feature_gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertSet(Placed):
    """x [B, N] -> K expert outputs [B, D] (HOME.md section 2); `widths` = (N, hidden…, D).

    All experts read one value or, if there are K values, one each. A `folded` set, for inference,
    has its running statistics folded into the weights. In training, a share `dropout` of each
    layer's outputs is 0. The first Linears are initialised for the activations `starts`.
    """

    kind: ClassVar[str] = "experts"
    count: int
    widths: tuple[int, ...]
    norm: Literal["batch", "layer", "none", "folded"]
    activation: Literal[Activation, "dice", "none", "folded_dice"]
    hidden_activation: Activation
    eps: float
    momentum: float
    dropout: float = 0.0
    starts: tuple[Activation, ...] = ()

    @property
    def width(self) -> int:
        """Width D of the outputs."""
        return self.widths[-1]

    @property
    def last_bias(self) -> bool:
        """Batch norm removes a bias before it, which would then be a dead parameter."""
        return self.norm != "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Placed):
    """Concatenated states [B, N] -> weights over C experts [B, C]; `widths` = (N, hidden…, C).

    A gate over one expert has the weight 1 and no parameters, unless it is a self gate. In an
    optimised graph, a gate with one Linear reads the projection that contains this Linear. A gate
    without inputs is static: its logits are parameters. The first Linears are initialised for the
    activations `starts`.
    """

    kind: ClassVar[str] = "gate"
    widths: tuple[int, ...]
    hidden_activation: Activation
    starts: tuple[Activation, ...] = ()

    @property
    def choices(self) -> int:
        """Number C of experts that it weighs."""
        return self.widths[-1]

    @property
    def has_weights(self) -> bool:
        """Whether it has parameters, because there is a choice."""
        return self.choices > 1

    @property
    def is_static(self) -> bool:
        """Whether its weights are parameters, the same in all rows."""
        return self.has_weights and not self.reads

    @property
    def squash(self) -> Literal["softmax", "sigmoid", "none"]:
        """The function that turns its logits into weights."""
        return "softmax"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfGate(Gate):
    """A gate over the node's own set (HOME.md section 5): sigmoid if C == 1, else softmax.

    The weights of a static self gate are its parameters themselves.
    """

    kind: ClassVar[str] = "self_gate"

    @property
    def has_weights(self) -> bool:
        """Always true, even for one expert."""
        return True

    @property
    def squash(self) -> Literal["softmax", "sigmoid", "none"]:
        """The function that turns its logits into weights."""
        if not self.reads:
            return "none"
        return "sigmoid" if self.choices == 1 else "softmax"


class Section(NamedTuple):
    """Columns of a projection for one purpose: `width` for each of `nodes`.

    `purpose` is down (without a bias), hidden, router, gate or self_gate. `loras` is the number of
    matrices to which a node's columns belong.
    """

    purpose: str
    nodes: tuple[str, ...]
    width: int
    loras: int = 1

    @property
    def columns(self) -> int:
        """Number of all columns."""
        return len(self.nodes) * self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection(Placed):
    """All Linears of gates that read one value x [B, N], as one -> [B, columns of all sections]."""

    kind: ClassVar[str] = "projection"
    width: int
    sections: tuple[Section, ...]


class Residual(NamedTuple):
    """A self gate's part of a mixture: the gate's value and the position of its set."""

    gate: Port
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix(Placed):
    """Gate weights [B, C] and expert sets -> the state [B, D] of a tree node.

    `reads` holds the gate, then the sets in the gate's order, then the self gates; `residuals` has
    the position of each self gate's set. `counts` are the sets' numbers of experts. A mixture of
    one expert need not read a gate: its weight is 1. The sets at the positions `foreign` get no
    gradient through it.
    """

    kind: ClassVar[str] = "state"
    width: int
    counts: tuple[int, ...]
    residual_positions: tuple[int, ...] = ()
    foreign: tuple[int, ...] = ()

    @property
    def gated(self) -> bool:
        """Whether it reads a mixture gate."""
        return len(self.reads) > len(self.counts) + len(self.residual_positions)

    @property
    def gate(self) -> Port:
        """The mixture gate."""
        return self.reads[0]

    @property
    def sets(self) -> tuple[Port, ...]:
        """The expert sets, in the gate's order."""
        return self.reads[self.gated :][: len(self.counts)]

    @property
    def residuals(self) -> tuple[Residual, ...]:
        """The self gates and the positions of their sets."""
        gates = self.reads[self.gated + len(self.counts) :]
        return tuple(map(Residual, gates, self.residual_positions))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower(Node):
    """The state [B, D] of a task -> its logit [B]; `widths` = (D, hidden…, 1).

    The logit of a regression estimates the label in units of `scale`. Hidden layers have a `norm`,
    which may be `folded` like that of experts. In training, a share `dropout` of their outputs is
    0. The first Linears are initialised for the activations `starts`.
    """

    kind: ClassVar[str] = "tower"
    task: str
    widths: tuple[int, ...]
    activation: Activation
    rate: float | None
    scale: float = 1.0
    norm: Literal["batch", "layer", "none", "folded"] = "none"
    eps: float = 0.0
    momentum: float = 0.0
    dropout: float = 0.0
    starts: tuple[Activation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(Node):
    """The logits [B] of `factors` -> the logit [B] of the product of their probabilities."""

    kind: ClassVar[str] = "product"
    task: str
    factors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective(Node):
    """The loss of a task on its logit, with a weight (HOME.md section 6).

    Binary cross-entropy, in which `pos_weight` multiplies positives and `focal` is the exponent of
    the focal loss; for a regression, `loss` on label and logit in units of `scale`. `where` names
    the task whose label, `where_label`, must be 1 in the rows that count; others count with the
    weight `outside`. `sample_weight` is the column of the rows' weights. `unknown` is the value
    that means an empty cell in the columns of the label, `where_unknown` that in those of
    `where_label`. `within` is the column of sessions in which the loss also ranks rows, with
    `within_weight`.
    """

    kind: ClassVar[str] = "objective"
    task: str
    label: str
    weight: float
    loss: Literal["binary", "squared", "absolute", "huber"] = "binary"
    scale: float = 1.0
    where: str = ""
    where_label: str = ""
    unknown: float | str | None = None
    where_unknown: float | str | None = None
    outside: float = 0.0
    sample_weight: str = ""
    pos_weight: float = 1.0
    focal: float = 0.0
    within: str = ""
    within_weight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Node):
    """Nodes of the same kind and shape, which generated code evaluates together, in this order."""

    kind: ClassVar[str] = "batch"
    members: tuple[Node, ...]

    def renamed(self, move: Callable[[Port], Port]) -> Node:
        """This batch, with the values that its members read replaced."""
        return batch_of(self.name, tuple(m.renamed(move) for m in self.members))


def batch_of(name: str, members: tuple[Node, ...]) -> Batch:
    """A batch that reads the values of its members; it points to the first member's YAML."""
    reads = tuple(dict.fromkeys(port for member in members for port in member.reads))
    return Batch(name=name, reads=reads, span=members[0].span, members=members)
