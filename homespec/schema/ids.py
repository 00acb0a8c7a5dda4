"""Stage 2, schema: identifiers and categories."""

from __future__ import annotations

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from homespec.schema.field_types import Model, Rows


class Id(Model):
    """An identifier or category, looked up in an embedding table."""

    buckets: Rows = Field(default=0, examples=[100_000])
    """Hash the id into this many rows: any 64-bit integer modulo buckets. Missing ids (-1 in
    tensors, null in files) have a row of their own."""
    vocab: Rows = Field(default=0, examples=[100])
    """Ids are 0 to vocab - 1. Missing and unknown ids share a row of their own."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Id:
        if len(self.model_fields_set) != 1:
            raise PydanticCustomError("id_kind", "give `buckets` or `vocab`")
        return self
