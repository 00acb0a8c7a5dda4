"""Stage 2, schema: the promises of a spec about its model, which rules HS312 to HS315 check."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from homespec.schema.field_types import MAX_ENTRIES, Member, Model, listed

UNITS = {"k": 10**3, "M": 10**6, "G": 10**9}
MAX_AMOUNT = 10**18
AMOUNT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([kMG])", re.ASCII)
"""At most as many decimals as give a whole number with any unit."""


def check_amount(value: Any) -> Any:
    """A whole number, also as `10M` or `1e7`."""
    if isinstance(value, str):
        match = AMOUNT.fullmatch(value)
        if match is None:
            raise PydanticCustomError("amount_type", "it is neither a number nor of the form 10M")
        return int(Decimal(match[1]) * UNITS[match[2]])
    return int(value) if isinstance(value, float) and value.is_integer() else value


def check_lists(value: Any) -> Any:
    """Lists in a list; a list of names alone is refused as a whole."""
    if isinstance(value, list) and value and not any(isinstance(v, list) for v in value):
        raise PydanticCustomError("lists_type", "it is not a list of lists")
    return listed(value)


Amount = Annotated[
    int,
    Field(ge=1, le=MAX_AMOUNT),
    BeforeValidator(check_amount),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer"},
                {
                    "type": "string",
                    "pattern": r"^(?=.*[1-9])[0-9]{1,9}(\.[0-9]{1,3})?[kMG]$",
                    "errorMessage": "a number, or one with k, M or G, such as 10M",
                },
            ],
            "minimum": 1,
            "maximum": MAX_AMOUNT,
        }
    ),
]

Nodes = Annotated[tuple[Member, ...], BeforeValidator(listed)]
Some = Annotated[tuple[Member, ...], Field(min_length=1), BeforeValidator(listed)]
Apart = Annotated[tuple[Member, ...], Field(min_length=2), BeforeValidator(listed)]


class Budget(Model):
    """Upper limits on the cost of the model. Numbers may end in k, M or G: `10M` is 10000000."""

    parameters: Amount = Field(default=0, examples=["10M"])
    """Trained numbers, including the tables of features, as `homespec show` counts them."""
    dense_parameters: Amount = Field(default=0, examples=["2M"])
    """Trained numbers without the tables: encoders, experts, gates and towers."""
    flops: Amount = Field(default=0, examples=["3M"])
    """FLOPs of one sample's forward pass, as `homespec show` counts them."""
    experts: Amount = Field(default=0, examples=[64])
    """Experts of all layers together."""


class Expect(Model):
    """Promises about the model. A spec that breaks a promise has an error."""

    isolated: Annotated[tuple[Apart, ...], Field(min_length=1), BeforeValidator(check_lists)] = (
        Field(default=(), examples=[[["watch", "interaction"]]])
    )
    """Lists of groups or tasks, such as `[[watch, interaction]]`: no gradient of the tasks of one
    reaches the experts of another one in the list, or of anything below it."""
    reads: Annotated[dict[str, Nodes], Field(min_length=1, max_length=MAX_ENTRIES)] = Field(
        default={}, examples=[{"hate": ["interaction"]}]
    )
    """For a task or group, the only nodes whose experts it may read, such as `{hate:
    [interaction]}`. You need not list shared experts and its own."""
    except_through: Annotated[Nodes, Field(min_length=1)] = Field(default=(), examples=[["shared"]])
    """Nodes whose states may pass on everything they mix: `isolated` and `reads` ignore paths
    through them. HoME shares knowledge through the state of `shared`."""
    budget: Budget = Field(default_factory=Budget.model_construct)
    """Upper limits on the cost of the model."""
