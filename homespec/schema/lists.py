"""Stage 2, schema: lists of values of the candidate, such as its tags, pooled to one vector."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from homespec.schema.constraints import Constrained, Constraint
from homespec.schema.field_types import Events

Pool = Literal["mean", "sum", "max"]
WEIGHTS = "weights"
"""The last part of the name of the tensor of weights."""

_MAX = {"required": ["pool"], "properties": {"pool": {"const": "max"}}}
_UNWEIGHTED = {
    "enum": ["", None],
    "errorMessage": "not with `pool: max`",
    "doNotSuggest": True,
}


def _check_weights(options: Any) -> None:
    if options.pool == "max" and options.weights:
        raise PydanticCustomError("list_weights", "weights", {})


NO_WEIGHTS_OF_MAX = Constraint(
    _check_weights, [{"if": _MAX, "then": {"properties": {WEIGHTS: _UNWEIGHTED}}}]
)
"""A maximum has no use for weights."""


def as_text(value: Any) -> Any:
    """Numbers are texts, as cells of CSV are."""
    return str(value) if type(value) in (int, float) else value


class InLists(Constrained):
    """How lists are written in a column."""

    separator: Annotated[str, Field(max_length=1)] = ""
    """The only separator of values in text, such as `|` or `"\\x01"`. Default: spaces, commas and
    semicolons; brackets and quotes are dropped."""
    padding: Annotated[
        str,
        Field(max_length=200, json_schema_extra={"type": ["string", "number"]}),
        BeforeValidator(as_text),
    ] = ""
    """A value that only pads lists, such as 0. It is removed when lists are read. If there are
    several columns, the padding is found in the first one, and the others lose the same positions.
    """


class ListOptions(InLists):
    """Options of a feature with several values in a row, which are pooled into one embedding."""

    max_len: Events = Field(examples=[20])
    """Number of values to keep: the first ones."""
    pool: Pool = "mean"
    """How the embeddings are pooled: the element-wise `mean`, `sum` or `max`. Missing values do not
    count. A list with no other values gives zeros."""
    weights: Annotated[str, Field(max_length=200)] = ""
    """Column with a weight for each value, for a weighted `sum` or `mean`. A missing weight counts
    as 0."""

    constraints = (NO_WEIGHTS_OF_MAX,)
