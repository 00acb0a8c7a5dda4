"""Stage 2, schema: the input features."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from homespec.schema.base import Boundaries, Model, Rows, Width


class Id(Model):
    """An identifier or category, looked up in an embedding table."""

    buckets: Rows = Field(default=0)
    """Hash the id into this many rows: any 64-bit integer modulo buckets. Missing ids (-1 in
    tensors, null in files) have a row of their own."""
    vocab: Rows = Field(default=0)
    """Ids are 0 to vocab - 1. Missing and unknown ids share a row of their own."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Id:
        if len(self.model_fields_set) != 1:
            raise PydanticCustomError("id_kind", "give `buckets` or `vocab`")
        return self


class Feature(Model):
    """One input feature: exactly one of `id`, `bucketize` and `dense`."""

    id: Id = Field(default=None)  # type: ignore[assignment]  # absent; `kind` says which one is set
    """An id or category: `{buckets: n}` hashes, `{vocab: n}` takes ids below n."""
    bucketize: Boundaries = ()
    """A number, cut at these ascending boundaries (a bucket includes its lower one). Each bucket
    has an embedding, so has missing."""
    dense: Width = Field(default=0)
    """A dense vector of this many numbers, taken as it is (missing becomes 0)."""
    dim: Width = Field(default=0)
    """Width of the embedding of an `id` or `bucketize` feature."""
    column: Annotated[str, Field(min_length=1, max_length=200)] = ""
    """Column of the data that holds the feature. Default: the feature's name."""

    @property
    def kind(self) -> Literal["id", "bucketize", "dense"]:
        """Which of the three kinds the feature is."""
        if "id" in self.model_fields_set:
            return "id"
        return "bucketize" if "bucketize" in self.model_fields_set else "dense"

    @property
    def width(self) -> int:
        """How many columns of the input v the feature takes."""
        return self.dense if self.kind == "dense" else self.dim

    @property
    def rows(self) -> int:
        """Rows of the embedding table; row 0 stands for missing. 0 for a dense feature."""
        if self.kind == "dense":
            return 0
        known = (self.id.buckets or self.id.vocab) if self.kind == "id" else len(self.bucketize) + 1
        return 1 + known

    @model_validator(mode="after")
    def _one_kind(self) -> Feature:
        kinds = [k for k in ("id", "bucketize", "dense") if k in self.model_fields_set]
        if len(kinds) != 1:
            raise PydanticCustomError("feature_kind", "{kinds}", {"kinds": ", ".join(kinds)})
        if ("dim" in self.model_fields_set) == (kinds[0] == "dense"):
            raise PydanticCustomError("feature_dim", "{kind}", {"kind": kinds[0]})
        return self
