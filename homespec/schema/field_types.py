"""Stage 2, schema: the building blocks of all sections of the language.

A key that is absent where an outer level may give it inherits from there: `model_fields_set`
distinguishes absent from given, so no field needs a None.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from homespec.schema import identifiers, label_parser, label_tokens


def check_name(name: str) -> str:
    """A name that is usable as an identifier, a key of a checkpoint and a file name."""
    if not identifiers.is_identifier(name):
        raise PydanticCustomError("bad_name", "`{name}` is not a name", {"name": name})
    if identifiers.is_reserved(name):
        raise PydanticCustomError("reserved_name", "`{name}` is reserved", {"name": name})
    return name


def check_layer_name(name: str) -> str:
    """Variables of generated code are named `z_LAYER_NODE`; without `_` in a layer they are
    unique."""
    if "_" in name:
        raise PydanticCustomError("bad_name", "`{name}` has an underscore", {"name": name})
    return name


def check_label(text: str) -> str:
    """A text with a label: a column, arithmetic of columns, or a test of these."""
    try:
        label_parser.parse_label(text)
    except label_tokens.LabelError as error:
        context = {"reason": str(error), "at": error.at, "length": error.length}
        raise PydanticCustomError("bad_label", "{reason}", context) from None
    return text


_NUMBER = "(?:0|[1-9][0-9]{0,8})"
_PART = "(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
VERSION = (
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PART}(?:\.{_PART})*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
"""A version of https://semver.org, of numbers below 10^9: `1.2.3`, `2.0.0-rc.1`, `1.2.3+today`."""
MAX_VERSION = 100


def check_version(text: str) -> str:
    """A semantic version."""
    if len(text) > MAX_VERSION or not re.fullmatch(VERSION, text):
        raise PydanticCustomError("bad_version", "it is not of the form 1.2.3")
    return text


MAX_BOUNDARY, MIN_BOUNDARY = 2.0**53, 2.0**-126
"""Boundaries must be smaller in magnitude than the former, up to which float64 has all whole
numbers, and, unless they are 0, at least the latter, the smallest normal float32."""


def check_boundaries(boundaries: tuple[float, ...]) -> tuple[float, ...]:
    """Boundaries with which numbers can be compared, in strictly ascending order."""
    for index, number in enumerate(boundaries):
        if not (number == 0 or MIN_BOUNDARY <= abs(number) < MAX_BOUNDARY):
            raise PydanticCustomError("boundary_size", "its size", {"index": index})
    for index, (left, right) in enumerate(pairwise(boundaries), 1):
        if not left < right:
            raise PydanticCustomError(
                "not_increasing", "they are not in ascending order", {"index": index}
            )
    return boundaries


def listed(value: Any) -> Any:
    """YAML yields lists, but strict pydantic requires tuples."""
    return tuple(value) if isinstance(value, list) else value


def text_of(form: str) -> WithJsonSchema:
    """Declare the form of a text in the JSON Schema: one of `patterns.FORMS`."""
    return WithJsonSchema({"type": "string", "format": form})


M = TypeVar("M", bound=BaseModel)

MAX_ENTRIES = 1024
"""Maximum numbers of features, groups and tasks of a spec; products have dozens of tasks."""

Member = Annotated[str, Field(max_length=200)]
Name = Annotated[str, AfterValidator(check_name), text_of("Name")]
LayerName = Annotated[Name, AfterValidator(check_layer_name), text_of("LayerName")]
Version = Annotated[str, AfterValidator(check_version), text_of("Version")]
Label = Annotated[str, AfterValidator(check_label), text_of("Label")]
Count = Annotated[int, Field(ge=0, le=4096)]
Width = Annotated[int, Field(ge=1, le=1_048_576)]
Widths = Annotated[tuple[Width, ...], Field(max_length=16), BeforeValidator(listed)]
Events = Annotated[int, Field(ge=2, le=100_000)]
Rows = Annotated[int, Field(ge=1, le=2_147_483_647)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Unknown = Annotated[
    Annotated[str, Field(min_length=1, max_length=200), Tag("text")]
    | Annotated[Finite, Field(gt=-(2**53), lt=2**53), Tag("number")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "number"),
]
"""A number or text that stands for a missing value."""
Boundary = Annotated[
    Finite,
    Field(json_schema_extra={"exclusiveMinimum": -(2**53), "exclusiveMaximum": 2**53}),
]
Boundaries = Annotated[
    tuple[Boundary, ...],
    Field(min_length=1, max_length=100_000),
    BeforeValidator(listed),
    AfterValidator(check_boundaries),
]


OneOrMore = Annotated[
    Annotated[M, Tag("mapping")]
    | Annotated[tuple[M, ...], Field(min_length=1), BeforeValidator(listed), Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "mapping"),
]
"""One mapping, or a list of them."""


class Model(BaseModel):
    """Base of all sections: unknown keys are errors and nothing is coerced."""

    # Built on first use, and docstrings read by `jsonschema` alone: both double the import's time.
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


def absent(*examples: object) -> Any:
    """The default of an absent key; `model_fields_set` shows whether it is present."""
    return Field(default=None, examples=[*examples] or None)


def overlay(*levels: BaseModel, to: type[M]) -> M:
    """Merge the fields given at each level into a `to`; later levels take precedence."""
    given: dict[str, Any] = {}
    for level in levels:
        fields = level.model_fields_set & to.model_fields.keys()
        given.update({field: getattr(level, field) for field in fields})
    return to.model_construct(set(given), **given)  # all of it has been validated
