"""HS504, HS512, HS514 and HS515: ids, and the rows of their tables that they use.

The thresholds are homespec's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from homespec.data.profiled import ProfiledData, share
from homespec.diagnostics import Finding, Severity, rule

if TYPE_CHECKING:
    from homespec.data.collisions import Collisions, HashedTable

UNSEEN = 0.1
"""Share of new held-out ids below which they are not reported."""
PATTERN = 0.5
"""Ids that use fewer rows than this share of what chance would use have a pattern."""
SHARING = 0.5
"""Share of ids that share a row below which they are not reported."""
FEW_IDS = 10_000
"""With this few ids, more rows cost almost nothing, and fewer ids may share a row."""
SHARING_OF_FEW = 0.25


@rule("HS504", "unknown-ids", Severity.WARNING)
def unknown_ids(data: ProfiledData) -> Iterator[Finding]:
    """Ids are beyond the vocabulary.

    `vocab: n` takes the ids 0 to n - 1, and `vocab: [US, DE]` those that it lists. All others share
    one row of the table with missing ids, so the model cannot distinguish them. Use a larger
    `vocab`, or `buckets` to hash any id. If ids are text, or few but large, list them.

    Bad, where `tab` reaches 14:

    ```yaml
    features:
      tab: {id: {vocab: 10}, dim: 4}
    ```

    Good:

    ```yaml
    features:
      tab: {id: {vocab: 15}, dim: 4}
    ```
    """
    for part, feature in data.features():
        vocab = feature.tensor.vocab
        if feature.unknown:
            yield Finding(
                data.at_table(feature.tensor, "vocab"),
                f"{part.name}: {share(feature.unknown, feature.values)} ids of"
                f" `{feature.tensor.column}` are beyond the vocabulary, such as"
                f" {feature.unknown_example!r:.60}",
                label=f"{vocab} ids" if feature.tensor.texts else f"ids 0 to {vocab - 1}",
                help=f"the largest is {feature.high}: write `vocab: {int(feature.high) + 1}`"
                if vocab <= feature.high < 10 * vocab
                else "add them to the list, or use `buckets` to hash them"
                if feature.tensor.texts
                else "use `buckets` to hash them, or number them from 0 when you prepare the data",
            )


@rule("HS512", "unseen-ids", Severity.WARNING)
def unseen_ids(data: ProfiledData) -> Iterator[Finding]:
    """More than a tenth of the held-out ids do not occur in the training rows.

    Their embeddings keep their initial values, so the feature contributes only noise there. For new
    users or videos this is unavoidable, and other features have to make up for it. It may also be
    that ids are written differently, such as text in one file and numbers in the other.
    """
    if data.valid is None:
        return
    for feature in data.valid.features.values():
        if not feature.problem and feature.unseen > UNSEEN * feature.values:
            yield Finding(
                data.at_column(feature.tensor),
                f"{data.valid.name}: {share(feature.unseen, feature.values)} ids of"
                f" `{feature.tensor.column}` do not occur in {data.train.name}",
                label="unseen",
                help="check whether both files write ids in the same way; if they do, other "
                "features must help",
            )


def _patterned(now: Collisions) -> bool:
    return now.rows < PATTERN * now.expected


@rule("HS514", "patterned-ids", Severity.WARNING)
def patterned_ids(data: ProfiledData) -> Iterator[Finding]:
    """Ids use far fewer rows of their table than the same number of random ids would.

    `buckets: n` maps a whole number to the row given by its remainder, id mod n. Ids that follow a
    pattern (all of them multiples of 1000, or equal in their last digits) share remainders if n is
    a round number, and the model cannot distinguish the ids of one row. Another number of buckets,
    such as a prime, has no factor in common with the pattern. This warning appears if the ids use
    fewer than half as many rows as random ids would.

    Bad, where ids are 7, 1007, 2007, …:

    ```yaml
    features:
      user: {id: {buckets: 1000}, dim: 8}
    ```

    Good:

    ```yaml
    features:
      user: {id: {buckets: 1009}, dim: 8}
    ```
    """
    for feature, table in data.train.tables():
        now = table.now
        if _patterned(now):
            other = table.unpatterned()
            yield Finding(
                data.at_table(feature.tensor, "buckets"),
                f"{data.train.name}: {now.ids:,} ids of `{feature.tensor.column}` use"
                f" {now.rows:,} of {now.buckets:,} rows; {now.sharing:,} share a row with"
                " another id",
                label=f"{now.rows:,} in use",
                help=f"write `buckets: {other.buckets}`, with which {other.rows:,} rows are used"
                if other
                else "number the ids from 0 when you prepare the data",
            )


@rule("HS515", "shared-rows", Severity.WARNING)
def shared_rows(data: ProfiledData) -> Iterator[Finding]:
    """Many ids share a row of their table with another id.

    Ids that share a row have one embedding, so the model cannot distinguish them. Hashing n ids
    into n buckets makes 63 % of them share a row; into twice as many, 39 %; into ten times as many,
    10 %. This warning appears if more than half of the ids of a table share a row. For at most
    10,000 ids, where more rows cost next to nothing, it appears from a quarter on. For many
    millions of ids, sharing may be a price worth paying: ignore this rule with a reason. Whole
    numbers do not share rows as long as the largest is below `buckets`. Text is hashed, so for a
    small set of values, number them when you prepare the data and give the feature a `vocab`.

    Bad, where 51 states are written as text:

    ```yaml
    features:
      state: {id: {buckets: 60}, dim: 8}
    ```

    Good:

    ```yaml
    features:
      state: {id: {buckets: 512}, dim: 8}
    ```
    """
    for feature, table in data.train.tables():
        now = table.now
        most = SHARING_OF_FEW if now.ids <= FEW_IDS else SHARING
        if now.sharing > most * now.ids and not _patterned(now):
            yield Finding(
                data.at_table(feature.tensor, "buckets"),
                f"{data.train.name}: {share(now.sharing, now.ids)} ids of"
                f" `{feature.tensor.column}` share a row with another id: they use"
                f" {now.rows:,} of {now.buckets:,} rows",
                label="shared",
                help=_more_room(table),
            )


def _more_room(table: HashedTable) -> str:
    ids, room = table.now.ids, table.roomier()
    size = room.buckets if room else table.now.buckets
    if table.ids[0] >= 0 and table.ids[-1] < size:
        return f"write `vocab: {table.ids[-1] + 1}`, where each id has a row of its own"
    number = f"number the ids 0 to {ids - 1} when you prepare the data and write `vocab: {ids}`"
    if room is None:
        return number
    left = f"{room.sharing:,} share a row" if room.sharing else "each has a row of its own"
    helps = f"write `buckets: {room.buckets}`, where {left}"
    return f"{helps}, or {number}" if ids <= FEW_IDS else helps
