"""HS510, HS518 and HS519: lists, of events and of values that are pooled.

The thresholds are homespec's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from homespec.data.profiled import ProfiledData, share
from homespec.diagnostics import Finding, Severity, rule

if TYPE_CHECKING:
    from homespec.data.list_profile import ListProfile
    from homespec.data.profile import FeatureProfile, Profile

CUT = 0.1
"""Share of rows with cut sequences below which they are not reported."""


@rule("HS510", "cut-sequences", Severity.WARNING)
def cut_sequences(data: ProfiledData) -> Iterator[Finding]:
    """More than a tenth of the rows have more events than the sequence keeps.

    The sequence keeps the latest events and drops earlier ones. A `list`, whose values are pooled,
    keeps its first values. You may intend this for speed. If not, a greater `max_len` sees more, at
    a proportional cost.
    """
    for part, feature in data.features():
        if feature.cut > CUT * feature.rows:
            yield Finding(
                data.at_column(feature.tensor),
                f"{part.name}: {share(feature.cut, feature.rows)} rows have more than"
                f" {feature.tensor.length} {feature.tensor.elements} in"
                f" `{feature.tensor.column}`, up to {feature.longest:,}",
                label="cut",
                help=f"keep more {feature.tensor.elements}, or ignore this rule if you intend this",
            )


def _lists(data: ProfiledData) -> Iterator[tuple[Profile, FeatureProfile, ListProfile]]:
    for part, feature in data.features():
        if feature.lists and feature.lists.lists:
            yield part, feature, feature.lists


@rule("HS518", "padded-sequence", Severity.WARNING)
def padded_sequence(data: ProfiledData) -> Iterator[Finding]:
    """The lists of a sequence look padded with a value that counts as an event.

    homespec expects lists with one element per event, and pads them itself. An element that only
    fills lists up to a fixed length, such as 0, counts as an event: encoders look it up, attend to
    it and let it displace older events. This warning appears if a tenth of the lists end, or begin,
    with repetitions of one value that hardly occurs elsewhere in them. Declare the value with
    `padding`, or write shorter lists.

    Bad: `[5, 8, 0, 0]`. Good: `[5, 8]` or `[5, 8, null, null]`.
    """
    for part, feature, lists in _lists(data):
        for run in lists.runs:
            if run.padding and not feature.constant:
                where = "end" if run.at_end else "begin"
                yield Finding(
                    data.at_column(feature.tensor),
                    f"{part.name}: {share(run.repeated, run.lists)} lists in"
                    f" `{feature.tensor.column}` {where} in `{run.example[:40]}` repeated, which"
                    f" looks like padding: {share(run.events, feature.values)}"
                    f" {feature.tensor.elements}",
                    label="padded",
                    help=f"write `padding: {run.example[:40]}`, or lists without it",
                )


@rule("HS519", "unsplit-lists", Severity.WARNING)
def unsplit_lists(data: ProfiledData) -> Iterator[Finding]:
    """Text that should be a list becomes one event, because nothing in it separates events.

    Text is split at spaces, commas and semicolons; surrounding brackets and quotes are dropped. Any
    other separator becomes part of the event, unless `separator` names it. This warning appears if
    nearly all lists (95 %) have one element, and in more than a tenth of the lists this element
    contains a likely separator.

    Bad: `12|7|9`. Good: `12 7 9`, `12,7,9`, `[12, 7, 9]`, or lists in parquet.
    """
    for part, feature, lists in _lists(data):
        if mark := lists.separator:
            inside = lists.separators[mark]
            yield Finding(
                data.at_column(feature.tensor),
                f"{part.name}: {share(lists.single, lists.lists)} lists in"
                f" `{feature.tensor.column}` have one element, {inside.lists:,} of them with"
                f" {mark!r} inside, such as {inside.example[:40]!r}",
                label=f"one {feature.tensor.elements[:-1]} each",
                help=f"write `separator: {json.dumps(mark)}`, or separate by spaces or commas",
            )
