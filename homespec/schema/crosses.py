"""Stage 2, schema: crosses, the pairs of two ids as a feature of their own."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from homespec.schema.field_types import Model, Rows, listed


class Cross(Model):
    """The pair of two ids, looked up in a table of its own (docs/crosses.md)."""

    of: Annotated[tuple[str, ...], Field(min_length=2, max_length=2), BeforeValidator(listed)]
    """The two ids: features with `id`, or with `table` of such a feature. The model computes the
    row of a pair from their tensors, so a cross has no tensor and no column of its own."""
    buckets: Rows = Field(examples=[100_000])
    """Hash each pair into this many rows. If one of the two ids is missing, or not in its
    vocabulary, the pair is missing and has row 0."""
