"""Stage 2, schema, HS238: keys that a cross does not have."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, rule
from homespec.schema.located_error import LocatedError


@rule("HS238", "cross-column")
def cross_column(error: LocatedError) -> Iterator[Finding]:
    """A cross has a `column`.

    The model computes the pair from the tensors of the two ids in `of`, so a cross is not read from
    the data. A column that already holds pairs is an ordinary id.

    Bad:

        user_tab: {cross: {of: [user_id, tab], buckets: 100000}, dim: 8, column: user_and_tab}

    Good:

        user_tab: {id: {buckets: 100000}, dim: 8, column: user_and_tab}
    """
    yield Finding(
        error.document.span((*error.path, "column"), key=True),
        f"`{error.where}` is a cross, which is computed from two ids and has no column",
        label="not for a cross",
        help="remove it; if the column already holds pairs, write `id: {buckets: n}` in place of"
        " `cross`",
    )
