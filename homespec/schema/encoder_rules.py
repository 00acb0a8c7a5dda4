"""HS120 to HS122: what sequences and their encoders must say."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, rule
from homespec.schema.located_error import LocatedError


@rule("HS120", "encoder-kind")
def encoder_kind(error: LocatedError) -> Iterator[Finding]:
    """A sequence has no encoder, or several.

    One encoder turns the events into one vector: `mean`, `din`, `dien`, `sim` or `twin`. For two of
    them, declare two sequences over the same fields and columns.
    """
    kinds = str(error.context["kinds"])
    yield Finding(
        error.key_span,
        f"`{error.where}` " + (f"is {kinds} at once" if kinds else "names no encoder"),
        label="one encoder is needed",
        help="give exactly one of `mean`, `din`, `dien`, `sim`, `twin`, such as `encoder: din` or "
        "`encoder: {din: {hidden: [36]}}`",
    )


@rule("HS121", "search-by")
def search_by(error: LocatedError) -> Iterator[Finding]:
    """A hard search does not say what it compares, or a soft search does.

    SIM's hard search keeps the events whose `by`, an id such as the category, equals the
    candidate's. Its soft search compares the embeddings of all fields of `of`.
    """
    if error.context["search"] == "hard":
        message = f"`{error.where}` searches hard, but does not say by which field"
        yield Finding(
            error.key_span,
            message,
            label="needs `by`",
            help="add `by:` with an id among the fields of `of`, or use `search: soft`",
        )
    else:
        yield Finding(
            error.document.span((*error.path, "by"), key=True),
            f"`{error.where}` searches softly, so `by` has no meaning",
            label="only for `search: hard`",
            help="remove `by`, or add `search: hard`",
        )


@rule("HS122", "sequence-column")
def sequence_column(error: LocatedError) -> Iterator[Finding]:
    """A sequence has a single `column`.

    Each field of its events has a column of its own, a list of values in each row. By default they
    are called like the sequence and the field: `history_video_id`.
    """
    yield Finding(
        error.document.span((*error.path, "column"), key=True),
        f"`{error.where}` is a sequence, whose fields have a column each",
        label="not for a sequence",
        help="remove it, and name columns under `sequence`: `columns: {video_id: hist_video}`",
    )
