"""Stage 2, schema, HS228 and HS229: lists of values that are pooled."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, rule
from homespec.schema.located_error import LocatedError

WHY = {
    "number": ("is one number in each row", "remove `list`, or `bucketize` the numbers"),
    "dense": ("is one vector in each row", "remove `list`"),
    "cross": ("is one pair in each row", "remove `list`"),
    "sequence": ("has lists already, of events", "remove `list`; `encoder: mean` pools events"),
}
"""Kinds of features that are not pooled, with the reason and the remedy."""


@rule("HS228", "list-kind")
def list_kind(error: LocatedError) -> Iterator[Finding]:
    """`list` is given for a feature that is not looked up in a table.

    The values of a `list` are looked up one by one, and their embeddings are pooled into one. So
    `list` belongs to `id`, `bucketize` and `table`. `number` and `dense` features are not looked
    up, and a `sequence` is made of lists already.
    """
    kind = str(error.context["kind"])
    why, remedy = WHY[kind]
    yield Finding(
        error.document.span((*error.path, "list"), key=True),
        f"`{error.where}` is `{kind}`, which {why}",
        label="only with a table",
        help=remedy,
    )


@rule("HS229", "list-weights")
def list_weights(error: LocatedError) -> Iterator[Finding]:
    """A list has weights, but its values are pooled by maximum.

    Weights scale embeddings before they are added up, as `sum` and `mean` do.
    """
    yield Finding(
        error.document.span((*error.path, "weights"), key=True),
        f"`{error.where}` takes the maximum, which ignores weights",
        label="not with `pool: max`",
        help="remove `weights`, or write `pool: mean` or `pool: sum`",
    )
