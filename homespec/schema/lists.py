"""Stage 2, schema: lists of values of the candidate, such as its tags, pooled to one vector."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

from homespec.schema.constraints import Constrained, Constraint
from homespec.schema.sequences import Events

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


class ListOptions(Constrained):
    """How the values of a list become one embedding, where a row has several of a feature."""

    max_len: Events = Field(examples=[20])
    """How many values are kept, the first."""
    pool: Pool = "mean"
    """How their embeddings become one: the `mean`, the `sum` or the `max` of each number. Missing
    values do not count; a list without any other gives zeros."""
    weights: Annotated[str, Field(max_length=200)] = ""
    """Column with a weight for each value, for a weighted `sum` or `mean`; a missing one is 0."""

    constraints = (NO_WEIGHTS_OF_MAX,)
