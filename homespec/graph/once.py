"""The graph: values that are the same for all rows of a request, given the user's features."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.graph.feature_nodes import Feature
from homespec.graph.graph import Graph
from homespec.graph.inputs import inputs_of
from homespec.graph.sequences import Mean, Sequence


def parts_of_input(graph: Graph) -> Iterator[Feature | Sequence]:
    """The features and sequences that form v, in order, wherever batches put them."""
    for part, *_ in inputs_of(graph).values():
        yield part


def is_once(part: Feature | Sequence, user: tuple[str, ...]) -> bool:
    """Whether a part of v is the same for all candidates, because all its inputs are the user's.

    A sequence that is compared with the candidate is not, unless all compared features are. A cross
    is computed from its two ids.
    """
    if isinstance(part, Feature) and part.crossed:
        return all(name in user for name in part.crossed)
    if part.short not in user:
        return False
    if isinstance(part, Feature) or isinstance(part.encoder, Mean):
        return True
    return all(field.name in user for field in part.fields[: part.shared])
