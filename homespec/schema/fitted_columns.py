"""Stage 2, schema: values that a spec leaves to the data: boundaries, scalings, vocabularies."""

from __future__ import annotations

from typing import NamedTuple

from homespec.schema.input_tensors import event_column, event_key
from homespec.schema.models import Spec

BOUNDARIES, SCALING = "features.{}.boundaries", "features.{}.scaling"
VOCABULARY = "features.{}.vocabulary"
"""The logical names of fitted values, by tensor."""


class FittedColumn(NamedTuple):
    """A column to which the boundaries of `quantiles` buckets are fitted."""

    column: str
    quantiles: int
    first: str = ""
    """For a field of events, the tensor whose values show which events exist; for a list itself; ""
    for a feature of one value."""


class ScaledColumn(NamedTuple):
    """A column to which the scaling of a number is fitted."""

    column: str
    scale: str
    """standard, log or minmax."""


class WordColumn(NamedTuple):
    """A column to whose ids a vocabulary is fitted."""

    column: str
    min_count: int
    max_size: int


def word_columns(spec: Spec) -> dict[str, WordColumn]:
    """The ids whose vocabulary is fitted, by the name of their tensor, in order.

    Ids that use the table of a feature have its vocabulary.
    """
    columns: dict[str, WordColumn] = {}
    for name, feature in spec.features.items():
        if feature.kind == "id" and (fitted := feature.id.fitted):
            columns[name] = WordColumn(feature.column, fitted.min_count, fitted.max_size)
        for field, own in feature.sequence.with_.items() if feature.kind == "sequence" else ():
            if own.is_id and (fitted := own.id.fitted):
                column = event_column(name, feature.sequence, field)
                key = event_key(name, field)
                columns[key] = WordColumn(column, fitted.min_count, fitted.max_size)
    return columns


def scaled_columns(spec: Spec) -> dict[str, ScaledColumn]:
    """The numbers whose scaling is fitted, by feature, in the order of the spec."""
    return {
        name: ScaledColumn(feature.column, feature.scale)
        for name, feature in spec.features.items()
        if feature.scale not in ("", "none")
    }


def fitted_columns(spec: Spec) -> dict[str, FittedColumn]:
    """The boundaries to fit, by the name of the tensor, in the order of the spec.

    Values that use the table of a feature have no boundaries of their own.
    """
    columns: dict[str, FittedColumn] = {}
    for name, feature in spec.features.items():
        if feature.quantiles:
            first = name if feature.is_list else ""
            columns[name] = FittedColumn(feature.column, feature.quantiles, first)
        if feature.kind != "sequence":
            continue
        sequence = feature.sequence
        for field, own in sequence.with_.items():
            if own.quantiles:
                column, first = event_column(name, sequence, field), event_key(name, sequence.of[0])
                columns[event_key(name, field)] = FittedColumn(column, own.quantiles, first)
    return columns
