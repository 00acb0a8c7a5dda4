"""Stage 2, schema: the numbers whose boundaries a spec leaves to the data."""

from __future__ import annotations

from typing import NamedTuple

from homespec.schema.models import Spec
from homespec.schema.tensors import event_column, event_key


class Asked(NamedTuple):
    """Boundaries to be fitted: those of so many buckets, to a column."""

    column: str
    quantiles: int
    first: str = ""
    """Of a field of events, the tensor that says which events are there; "" for a feature."""


def asked(spec: Spec) -> dict[str, Asked]:
    """What is to be fitted, by the name of its tensor, in the order of the spec.

    Values that are looked up in the table of a feature have no boundaries of their own.
    """
    found: dict[str, Asked] = {}
    for name, feature in spec.features.items():
        if feature.quantiles:
            found[name] = Asked(feature.column, feature.quantiles)
        if feature.kind != "sequence":
            continue
        sequence = feature.sequence
        for field, own in sequence.with_.items():
            if own.quantiles:
                column, first = event_column(name, sequence, field), event_key(name, sequence.of[0])
                found[event_key(name, field)] = Asked(column, own.quantiles, first)
    return found
