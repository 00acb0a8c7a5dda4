"""The graph: the node of a sequence of events, and the options of its encoder.

Shapes: B batch, L events (`max_len`), K events that a search finds (`top`), Q width of the
candidate's embeddings (the query), E width of an event, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from homespec.graph.nodes import Activation, Node
from homespec.schema.identifiers import ROOT


class EventField(NamedTuple):
    """A field of an event: its tensor, the feature whose table it uses, and its width."""

    name: str
    key: str
    """Its key in the dict of features: `history.video_id`."""
    table: str
    """Name of the feature's node; a field that only events have is its own feature."""
    width: int
    own: bool
    """Whether only events have the table."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean -> [B, E]."""


@dataclass(frozen=True, slots=True)
class Din:
    """Target attention by an MLP of these hidden widths -> [B, E].

    The first Linears are initialised for the activations `starts`.
    """

    hidden: tuple[int, ...]
    activation: Literal[Activation, "dice"]
    softmax: bool
    eps: float
    momentum: float
    starts: tuple[Activation, ...] = ()


@dataclass(frozen=True, slots=True)
class Dien:
    """A GRU and one with attentional update gate, with states of this width -> [B, width]."""

    width: int


@dataclass(frozen=True, slots=True)
class Sim:
    """Search and multi-head target attention -> [B, heads * E].

    `by` is the field that a hard search compares, "" for a soft search.
    """

    by: str
    top: int
    heads: int
    width: int


@dataclass(frozen=True, slots=True)
class Twin:
    """The same target attention for search and weights -> [B, width]."""

    top: int
    heads: int
    width: int


Encoder = Mean | Din | Dien | Sim | Twin


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence(Node):
    """Events and the candidate -> [B, width]. It reads the features whose tables it uses.

    `fields` are those of an event; the first `shared` of them are also the candidate's. The others
    have their own tables, or also use that of a feature. In training, a share `dropout` of its
    columns of v is 0. Nodes of the task tree at or below `place` read it.
    """

    kind: ClassVar[str] = "sequence"
    short: str
    """The name of the feature."""
    fields: tuple[EventField, ...]
    shared: int
    max_len: int
    encoder: Encoder
    dropout: float = 0.0
    place: str = ROOT

    @property
    def own(self) -> tuple[EventField, ...]:
        """The fields with tables that only events have."""
        return tuple(field for field in self.fields if field.own)

    @property
    def query_width(self) -> int:
        """Width Q of the candidate's embeddings."""
        return sum(field.width for field in self.fields[: self.shared])

    @property
    def event_width(self) -> int:
        """Width E of an event."""
        return sum(field.width for field in self.fields)

    @property
    def events(self) -> int:
        """Number of events that the encoder weighs: those that a search selects, or all."""
        return self.encoder.top if isinstance(self.encoder, Sim | Twin) else self.max_len

    @property
    def width(self) -> int:
        """Width of the encoder's output."""
        match self.encoder:
            case Mean() | Din():
                return self.event_width
            case Sim(heads=heads):
                return heads * self.event_width
            case Dien(width=width) | Twin(width=width):
                return width
