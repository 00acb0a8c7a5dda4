"""Stage 2, schema: the input features."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from homespec.schema.base import Boundaries, Model, Width
from homespec.schema.ids import Id
from homespec.schema.sequences import Sequence

Kind = Literal["id", "bucketize", "dense", "table", "sequence"]
KINDS: tuple[Kind, ...] = ("id", "bucketize", "dense", "table", "sequence")
EMBEDDED = ("id", "bucketize")
"""The kinds that have a table and say how wide it is."""
OF_DENSE = ("project", "missing")
"""What only dense features have."""


class Quantiles(Model):
    """Boundaries that are fitted to the training data, once, and then kept with the weights."""

    quantiles: Annotated[int, Field(ge=2, le=10_000)]
    """How many buckets, with about equally many rows each. Where many rows have the same number,
    neighbouring boundaries are equal and the buckets between them stay empty."""


def cut_as(value: Any) -> str:
    """Whether boundaries are given or fitted."""
    return "mapping" if isinstance(value, dict | Quantiles) else "list"


Cuts = Annotated[
    Annotated[Quantiles, Tag("mapping")] | Annotated[Boundaries, Tag("list")],
    Discriminator(cut_as),
]


class Feature(Model):
    """One input feature: exactly one of `id`, `bucketize`, `dense`, `table` and `sequence`."""

    id: Id = Field(default=None)  # type: ignore[assignment]  # absent; `kind` says which one is set
    """An id or category: `{buckets: n}` hashes, `{vocab: n}` takes ids below n."""
    bucketize: Cuts = ()
    """A number, cut at these ascending boundaries (a bucket includes its lower one), or at
    boundaries fitted to the data: `{quantiles: n}`. Each bucket has an embedding, so has
    missing."""
    dense: Width = Field(default=0)
    """A dense vector of this many numbers. Single missing numbers become 0."""
    project: Width = Field(default=0)
    """Width to which a Linear brings a `dense` feature. Default: it is taken as it is."""
    missing: Literal["zero", "learned"] = "zero"
    """What stands for a `dense` vector that is missing as a whole: zeros, or a vector that is
    learned. It comes before the projection."""
    table: Annotated[str, Field(min_length=1, max_length=200)] = ""
    """Another `id` or `bucketize` feature: values of this one are looked up in its table, with its
    rows and its width."""
    sequence: Sequence = Field(default=None)  # type: ignore[assignment]  # absent, like `id`
    """Past events, summarised by attention to the candidate (docs/sequences.md)."""
    dim: Width = Field(default=0)
    """Width of the embedding of an `id` or `bucketize` feature."""
    column: Annotated[str, Field(min_length=1, max_length=200)] = ""
    """Column of the data that holds the feature. Default: the feature's name. A sequence has
    `columns` instead."""

    @property
    def kind(self) -> Kind:
        """Which of the kinds the feature is."""
        for kind in KINDS:
            if kind in self.model_fields_set:
                return kind
        return "dense"

    @property
    def width(self) -> int:
        """How many columns of the input v the feature takes; 0 where another one says.

        That is an encoder for a sequence, and for a shared table the feature that owns it.
        """
        return (self.project or self.dense) if self.kind == "dense" else self.dim

    @property
    def quantiles(self) -> int:
        """Number of buckets whose boundaries are fitted to data; 0 where these are given."""
        return self.bucketize.quantiles if isinstance(self.bucketize, Quantiles) else 0

    @property
    def boundaries(self) -> tuple[float, ...]:
        """The boundaries that the spec gives."""
        return () if isinstance(self.bucketize, Quantiles) else self.bucketize

    @property
    def rows(self) -> int:
        """Rows of the embedding table; row 0 stands for missing. 0 where it has none of its own."""
        if self.kind == "id":
            return 1 + (self.id.buckets or self.id.vocab)
        if self.kind == "bucketize":
            return 1 + (self.quantiles or len(self.boundaries) + 1)
        return 0

    @model_validator(mode="after")
    def _one_kind(self) -> Feature:
        kinds = [kind for kind in KINDS if kind in self.model_fields_set]
        if len(kinds) != 1:
            raise PydanticCustomError("feature_kind", "{kinds}", {"kinds": ", ".join(kinds)})
        (kind,) = kinds
        if ("dim" in self.model_fields_set) != (kind in EMBEDDED):
            raise PydanticCustomError("feature_dim", "{kind}", {"kind": kind})
        for key in OF_DENSE:
            if key in self.model_fields_set and kind != "dense":
                raise PydanticCustomError("dense_only", "{key}", {"key": key, "kind": kind})
        if kind == "sequence" and self.column:
            raise PydanticCustomError("sequence_column", "a sequence has `columns`")
        return self
