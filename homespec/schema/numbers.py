"""Stage 2, schema: the ranges of numbers that training must represent in float32.

float32 ends at 3.4e38, is 0 below 1.4e-45, and knows no number between 1 - 6e-8 and 1. A number
that is none of float32's, or whose square or inverse is none, makes a loss infinite or a parameter
dead, silently. The limits here are homespec's own and leave room on both sides.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

MIN_WEIGHT = 1e-9
MAX_WEIGHT = 1e9


def check_weight(weight: float) -> float:
    """A weight that is 0, or large enough to have an effect in float32."""
    if 0 < weight < MIN_WEIGHT:
        raise PydanticCustomError(
            "tiny_weight", "Input should be 0, or at least {least}", {"least": MIN_WEIGHT}
        )
    return weight


Rate = Annotated[float, Field(ge=1e-9, le=0.999999, allow_inf_nan=False)]
Epsilon = Annotated[float, Field(ge=1e-12, le=1, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=1e-6, le=1, allow_inf_nan=False)]
Dropout = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
PosWeight = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]
Focal = Annotated[float, Field(ge=0, le=20, allow_inf_nan=False)]
Scale = Annotated[float, Field(ge=1e-6, le=1e12, allow_inf_nan=False)]
TermWeight = Annotated[float, Field(ge=MIN_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]
Weight = Annotated[
    float,
    Field(ge=0, le=MAX_WEIGHT, allow_inf_nan=False),
    AfterValidator(check_weight),
    Field(
        json_schema_extra={
            "anyOf": [
                {"const": 0},
                {"type": "number", "minimum": MIN_WEIGHT, "maximum": MAX_WEIGHT},
            ]
        }
    ),
]

REASONS = {
    "rate": "a rate is a share, and its log-odds overflow float32 if it is too close to 0 or 1",
    "norm_eps": "a smaller one vanishes in float32, and constant channels get infinite gradients",
    "norm_momentum": "with less, running statistics never change in float32",
    "pos_weight": "beyond this range, only one class would be trained",
    "focal": "below 0, losses are infinite; above 20, the losses of well-predicted rows are 0",
    "dropout": "at 1, nothing is left of what it acts on",
    "feature_dropout": "at 1, nothing is left of the features",
    "scale": "squared labels in this unit exceed the range of float32",
    "outside_weight": "a loss times a weight beyond this range is infinite or 0 in float32",
    "weight": "a loss times a weight beyond this range is infinite or 0 in float32",
}
"""Why a number is refused, by its key; `out-of-range` says so."""
