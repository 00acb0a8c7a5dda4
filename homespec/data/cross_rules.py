"""HS526 and HS529: the pairs of crosses, and the rows of their tables that they use.

Thresholds are homespec's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from homespec.data.id_rules import FEW_IDS, SHARING, SHARING_OF_FEW
from homespec.data.profiled import ProfiledData
from homespec.diagnostics import Finding, Severity, rule

if TYPE_CHECKING:
    from homespec.data.pair_profile import PairProfile

ROOM = 100
"""A table with this many rows for each pair is mostly empty."""
LARGE = 1_000_000
"""Smaller tables, in trained numbers, cost next to nothing."""


@rule("HS526", "crowded-cross", Severity.WARNING)
def crowded_cross(data: ProfiledData) -> Iterator[Finding]:
    """Many pairs of a cross share a row of its table with another pair.

    Pairs that share a row have one embedding, so the model cannot distinguish them. Two ids make
    far more pairs than each has values. As with [shared rows](#hs515-shared-rows), hashing n pairs
    into n buckets makes 63 % of them share a row; into ten times as many, 10 %. This warning
    appears if more than half of the pairs share a row, or more than a quarter of at most 10,000.

    Bad, where 1,000 users and 20 tabs make 15,000 pairs:

    ```yaml
    features:
      user_tab: {cross: {of: [user_id, tab], buckets: 1000}, dim: 8}
    ```

    Good:

    ```yaml
    features:
      user_tab: {cross: {of: [user_id, tab], buckets: 100000}, dim: 8}
    ```
    """
    for name, cross in data.train.pairs.items():
        pairs, share = len(cross.distinct), cross.sharing(cross.buckets)
        if cross.known and share > (SHARING_OF_FEW if pairs <= FEW_IDS else SHARING):
            yield Finding(
                data.document.span(("features", name, "cross", "buckets")),
                f"{data.train.name}: about {100 * share:.0f}% of the {pairs:,} pairs of"
                f" `{name}` share a row with another pair",
                label=f"{cross.buckets:,} rows",
                help=_more_room(cross),
            )


def _more_room(cross: PairProfile) -> str:
    pairs = len(cross.distinct)
    buckets = 10 ** len(str(5 * pairs))  # more than five times as many
    share = f"about {100 * cross.sharing(buckets):.0f}%"
    return f"write `buckets: {buckets}`, with which {share} share a row"


@rule("HS529", "roomy-cross", Severity.NOTE)
def roomy_cross(data: ProfiledData) -> Iterator[Finding]:
    """A cross has a hundred times as many rows as there are pairs in the training rows.

    Rows that no pair uses are never trained, and cost memory in training and in serving. This note
    appears for tables of at least a million numbers. It does not matter if the files are only a
    sample of your data.

    Bad, where there are 5,000 pairs:

    ```yaml
    features:
      tab_country: {cross: {of: [tab, country], buckets: 10000000}, dim: 8}
    ```

    Good:

    ```yaml
    features:
      tab_country: {cross: {of: [tab, country], buckets: 100000}, dim: 8}
    ```
    """
    for name, cross in data.train.pairs.items():
        pairs, width = len(cross.distinct), data.spec.features[name].dim
        if cross.known and cross.buckets >= ROOM * pairs and cross.buckets * width >= LARGE:
            yield Finding(
                data.document.span(("features", name, "cross", "buckets")),
                f"{data.train.name}: `{name}` has {cross.buckets:,} rows for {pairs:,} pairs",
                label="most rows are never used",
                help=_more_room(cross).replace("with which", "with which only"),
            )
