"""Stage 2, schema: sequences of past events, and the encoders that summarise them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

from homespec.schema.activations import Activation
from homespec.schema.constraints import BY_WITH_HARD, Constrained, one_of
from homespec.schema.embedded import OWNERS, Embedded, dim_of
from homespec.schema.field_types import (
    Events,
    Model,
    Name,
    Width,
    Widths,
    absent,
    check_name,
    listed,
    text_of,
)
from homespec.schema.lists import InLists
from homespec.schema.numbers import Epsilon, Momentum

EncoderKind = Literal["mean", "din", "dien", "sim", "twin"]
KINDS: tuple[EncoderKind, ...] = get_args(EncoderKind)
FieldKind = Literal["id", "bucketize", "table", "dense"]
FIELD_KINDS: tuple[FieldKind, ...] = get_args(FieldKind)
"""The kinds of fields that only events have."""
OWN_NAME = "encoder"
"""The name of the encoder's weights below the sequence, which fields may not have."""

Heads = Annotated[int, Field(ge=1, le=64)]


def check_field_name(name: str) -> str:
    """A name of a field that only events have."""
    if check_name(name) == OWN_NAME:
        raise PydanticCustomError("reserved_name", "`{name}` is reserved", {"name": name})
    return name


class Mean(Model):
    """The mean of the events: no weights, no order."""


class Din(Model):
    """DIN: each event is weighted by an attention unit that compares it with the candidate."""

    hidden: Widths = (36,)
    """Widths of the attention unit's hidden layers."""
    activation: Literal["dice", Activation] = "dice"
    """Activation after each hidden layer. DICE takes its statistics over existing events."""
    softmax: bool = False
    """Whether the weights are normalised to sum to 1. In the paper they are not, so that the
    strength of an interest counts."""
    norm_eps: Epsilon = 1e-5
    """Epsilon of DICE."""
    norm_momentum: Momentum = 0.1
    """Momentum of DICE's running statistics."""


class Dien(Model):
    """DIEN: a GRU over the events, then one whose steps the candidate's attention scales."""

    width: Width = Field(default=0, examples=[64])
    """Width of the states of both GRUs, and of the output. Default: an event's width."""


class Sim(Constrained):
    """SIM: a search for events that matter to the candidate, then multi-head target attention."""

    search: Literal["hard", "soft"] = "soft"
    """`hard`: the latest events whose `by` equals the candidate's. `soft`: the events whose
    embeddings have the greatest inner product with the candidate's."""
    by: str = ""
    """The id among the fields of `of` that a hard search compares, such as the category."""
    top: Events = 20
    """Maximum number of events that the search keeps."""
    heads: Heads = 2
    """Number of attention heads. The output has the width of an event for each head."""
    width: Width = Field(default=0, examples=[64])
    """Total width of the queries and keys of all heads. Default: the candidate's width, rounded up
    to a multiple of `heads`."""

    constraints = (BY_WITH_HARD,)


class Twin(Model):
    """TWIN: one target attention scores all events, and weighs the best of them."""

    top: Events = 100
    """Maximum number of events that the first stage keeps (100 in the paper)."""
    heads: Heads = 4
    """Number of attention heads."""
    width: Width = Field(default=0, examples=[64])
    """Width of all heads' queries, keys and values together, and of the output. Default: the
    candidate's width, rounded up to a multiple of `heads`."""


class Encoder(Constrained):
    """The encoder that turns events into one vector: exactly one of these keys, or its bare name
    for its defaults."""

    mean: Mean = absent()  # `kind` says which is set
    """The mean of the events, or zeros without events."""
    din: Din = absent()
    """Deep Interest Network (Zhou et al. 2018): target attention with DICE."""
    dien: Dien = absent()
    """Deep Interest Evolution Network (Zhou et al. 2019): a GRU, then one with an attentional
    update gate. Its steps run one after the other, so it is meant for short sequences."""
    sim: Sim = absent()
    """Search-based Interest Model (Pi et al. 2020): search, then attention. For long sequences."""
    twin: Twin = absent()
    """Two-stage Interest Network (Chang et al. 2023): one attention searches and weighs. For long
    sequences."""

    @property
    def kind(self) -> EncoderKind:
        """The kind that is set."""
        return next(kind for kind in KINDS if kind in self.model_fields_set)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in KINDS:
                expected = ", ".join(f"'{kind}'" for kind in KINDS)
                raise PydanticKnownError("literal_error", {"expected": expected})
            return {value: {}}
        return value

    constraints = (one_of(KINDS, "encoder_kind"),)


class EventField(Embedded):
    """A field that events have but candidates do not, such as the watch time of a video."""

    dense: Width = Field(default=0, examples=[64])
    """A vector of this many numbers for each event, such as an embedding of the watched video: from
    a column of lists of vectors. Missing vectors and numbers become 0."""

    @property
    def width(self) -> int:
        """The number of columns of an event that the field takes; 0 in a shared table."""
        return self.dense or self.dim

    @property
    def kind(self) -> FieldKind:
        """The kind that is set."""
        return next(kind for kind in FIELD_KINDS if kind in self.model_fields_set)

    constraints = (one_of(FIELD_KINDS, "feature_kind"), dim_of(OWNERS, FIELD_KINDS))


FieldName = Annotated[Name, BeforeValidator(check_field_name), text_of("FieldName")]


class Sequence(InLists):
    """Past events of the user, summarised for the candidate."""

    of: Annotated[tuple[str, ...], Field(min_length=1, max_length=64), BeforeValidator(listed)]
    """Features of the candidate that events also have. They are looked up in the same tables, and
    the candidate's own embeddings are the query. An event exists if its first field is present."""
    with_: Annotated[dict[FieldName, EventField], Field(max_length=64, alias="with")] = Field(
        default={}
    )
    """Fields that only events have, by name, each with its own table or in the table of a feature.
    """
    max_len: Events = Field(examples=[50])
    """Number of events to keep: the latest ones."""
    encoder: Encoder
    """The encoder that turns the events into one vector: `mean`, `din`, `dien`, `sim` or `twin`, or
    a mapping from one of these to its options."""
    columns: Annotated[
        dict[str, Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=128)
    ] = Field(default={})
    """Column of the data for each field, which holds a list of values in each row, oldest first.
    Default: the name of the sequence, `_`, and the name of the field."""

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields of an event, those of the candidate first."""
        return (*self.of, *self.with_)

    constraints = ()
