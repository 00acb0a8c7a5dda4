"""Stage 2, schema: the input features."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from homespec.schema.base import Boundaries, Model, Width
from homespec.schema.ids import Id
from homespec.schema.sequences import Sequence

KINDS: tuple[Literal["id", "bucketize", "dense", "sequence"], ...]
KINDS = ("id", "bucketize", "dense", "sequence")


class Feature(Model):
    """One input feature: exactly one of `id`, `bucketize`, `dense` and `sequence`."""

    id: Id = Field(default=None)  # type: ignore[assignment]  # absent; `kind` says which one is set
    """An id or category: `{buckets: n}` hashes, `{vocab: n}` takes ids below n."""
    bucketize: Boundaries = ()
    """A number, cut at these ascending boundaries (a bucket includes its lower one). Each bucket
    has an embedding, so has missing."""
    dense: Width = Field(default=0)
    """A dense vector of this many numbers; one that is missing is 0."""
    project: Width = Field(default=0)
    """Width to which a Linear brings a `dense` feature. Default: it is taken as it is."""
    missing: Literal["zero", "learned"] = "zero"
    """What stands for a `dense` vector that is missing as a whole: zeros, or a vector that is
    learned. It comes before the projection."""
    sequence: Sequence = Field(default=None)  # type: ignore[assignment]  # absent, like `id`
    """Past events, summarised by attention to the candidate (docs/sequences.md)."""
    dim: Width = Field(default=0)
    """Width of the embedding of an `id` or `bucketize` feature."""
    column: Annotated[str, Field(min_length=1, max_length=200)] = ""
    """Column of the data that holds the feature. Default: the feature's name. A sequence has
    `columns` instead."""

    @property
    def kind(self) -> Literal["id", "bucketize", "dense", "sequence"]:
        """Which of the four kinds the feature is."""
        for kind in KINDS:
            if kind in self.model_fields_set:
                return kind
        return "dense"

    @property
    def width(self) -> int:
        """How many columns of the input v the feature takes; 0 for a sequence: its encoder says."""
        return self.project or self.dense if self.kind == "dense" else self.dim

    @property
    def rows(self) -> int:
        """Rows of the embedding table; row 0 stands for missing. 0 where there is none."""
        if self.kind in ("dense", "sequence"):
            return 0
        known = (self.id.buckets or self.id.vocab) if self.kind == "id" else len(self.bucketize) + 1
        return 1 + known

    @model_validator(mode="after")
    def _one_kind(self) -> Feature:
        kinds = [kind for kind in KINDS if kind in self.model_fields_set]
        if len(kinds) != 1:
            raise PydanticCustomError("feature_kind", "{kinds}", {"kinds": ", ".join(kinds)})
        if ("dim" in self.model_fields_set) == (kinds[0] in ("dense", "sequence")):
            raise PydanticCustomError("feature_dim", "{kind}", {"kind": kinds[0]})
        for key in ("project", "missing"):
            if key in self.model_fields_set and kinds[0] != "dense":
                raise PydanticCustomError("dense_only", "{key}", {"key": key, "kind": kinds[0]})
        if kinds[0] == "sequence" and self.column:
            raise PydanticCustomError("sequence_column", "a sequence has `columns`")
        return self
