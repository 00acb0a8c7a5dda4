"""The graph: what is the same for all rows of a request, since the user's features make it."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.graph.graph import Graph
from homespec.graph.inputs import inputs_of
from homespec.graph.nodes import Feature
from homespec.graph.sequences import Mean, Sequence


def parts_of_input(graph: Graph) -> Iterator[Feature | Sequence]:
    """The features and sequences that v is made of, in their order, wherever batches put them."""
    for part, *_ in inputs_of(graph).values():
        yield part


def is_once(part: Feature | Sequence, user: tuple[str, ...]) -> bool:
    """Whether a part of v is the same for all candidates: what it is made of is the user's.

    A sequence that is compared with the candidate is not, unless all of the compared is. A cross is
    computed from its two ids.
    """
    if isinstance(part, Feature) and part.crossed:
        return all(name in user for name in part.crossed)
    if part.short not in user:
        return False
    if isinstance(part, Feature) or isinstance(part.encoder, Mean):
        return True
    return all(field.name in user for field in part.fields[: part.shared])
