"""Stage 1, source: the rules HS025 and HS026, on entries that are several features."""

from __future__ import annotations

from collections.abc import Iterator

from homespec.diagnostics import Finding, Label, Span, rule


@rule("HS025", "bad-columns")
def bad_columns(span: Span, reason: str, remedy: str) -> Iterator[Finding]:
    """`columns` of a feature does not say which columns.

    An entry with `columns` declares one feature per column, named after the column, and all of them
    have the options of the entry. `columns` is a list, whose items may be ranges, or a mapping from
    names to columns whose own names are not identifiers. Write a range as its first and last column
    with two dots between them: `C1..C26` or `f01..f39`. The compiler does not look at the data, so
    there are no wildcards. A spec has 1,024 features at most.

    Bad:

        features:
          sparse: {columns: C1-C26, id: {buckets: 100000}, dim: 16}

    Good:

        features:
          sparse: {columns: C1..C26, id: {buckets: 100000}, dim: 16}
    """
    yield Finding(span, f"`columns`: {reason}", label="not columns", help=remedy)


@rule("HS026", "repeated-column")
def repeated_column(
    span: Span, name: str, first: Span, entry: str, both_listed: bool
) -> Iterator[Finding]:
    """A column is listed twice, or is also the name of another feature.

    Each column of an entry becomes a feature of that name. If one column needs other options, take
    it out of `columns` and declare a feature for it.

    Bad:

        features:
          sparse: {columns: C1..C26, id: {buckets: 100000}, dim: 16}
          C3: {id: {buckets: 5000000}, dim: 32}

    Good:

        features:
          sparse: {columns: [C1, C2, C4..C26], id: {buckets: 100000}, dim: 16}
          C3: {id: {buckets: 5000000}, dim: 32}
    """
    what = "listed twice" if both_listed else f"both a feature and a column of `{entry}`"
    yield Finding(
        span,
        f"`{name}` is {what}",
        label="there is one already",
        related=(Label(first, "here"),),
        help=f"take `{name}` out of the `columns` of `{entry}`, or change the options there for "
        "all columns",
    )
