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
    """What separates the values in text, such as `|` or `"\\x01"`, and nothing else does. Default:
    blanks, commas and semicolons; brackets and quotes do not count."""
    padding: Annotated[
        str,
        Field(max_length=200, json_schema_extra={"type": ["string", "number"]}),
        BeforeValidator(as_text),
    ] = ""
    """A value that fills lists up, such as 0: it is taken out of them when they are read. With the
    first of several columns the others lose what is at its places."""


class ListOptions(InLists):
    """How the values of a list become one embedding, where a row has several of a feature."""

    max_len: Events = Field(examples=[20])
    """How many values are kept, the first."""
    pool: Pool = "mean"
    """How their embeddings become one: the `mean`, the `sum` or the `max` of each number. Missing
    values do not count; a list without any other gives zeros."""
    weights: Annotated[str, Field(max_length=200)] = ""
    """Column with a weight for each value, for a weighted `sum` or `mean`; a missing one is 0."""

    constraints = (NO_WEIGHTS_OF_MAX,)
