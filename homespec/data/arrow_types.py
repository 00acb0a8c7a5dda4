"""Data: the common type of a column in several files."""

from __future__ import annotations

import pyarrow as pa


def decoded_type(kind: pa.DataType) -> pa.DataType:
    """The type with which a column is read, which pyarrow can compute with.

    Dictionaries become their values, views of text become text, small decimals become larger ones;
    elements of lists likewise.
    """
    types = pa.types
    if types.is_dictionary(kind):
        return decoded_type(kind.value_type)
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_decimal32(kind) or types.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    if types.is_fixed_size_list(kind):
        return pa.list_(decoded_type(kind.value_type), kind.list_size)
    if types.is_large_list(kind):
        return pa.large_list(decoded_type(kind.value_type))
    if types.is_list(kind):
        return pa.list_(decoded_type(kind.value_type))
    return kind


def _rounds(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether the common type would change the numbers, or their precision, of one of them.

    Integers and float64 are converted to float64 in any case.
    """
    kinds = [kind.value_type if pa.types.is_nested(kind) else kind for kind in (one, other)]
    if any(pa.types.is_null(kind) for kind in kinds):
        return False
    floats = [kind for kind in kinds if pa.types.is_floating(kind)]
    return any(kind.bit_width < 64 or any(pa.types.is_decimal(k) for k in kinds) for kind in floats)


def common_type(one: pa.DataType, other: pa.DataType, exact: bool) -> pa.DataType | None:
    """The type that holds the values of both; None if there is none."""
    if one == other:
        return one
    if exact and _rounds(one, other):
        return None
    schemas = [pa.schema([("c", kind)]) for kind in (one, other)]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field("c").type
    except pa.ArrowException:
        return None
