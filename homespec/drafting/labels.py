"""Drafting: finds columns that may be labels, with their likelihood."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from homespec.data import DataError
from homespec.data.columns import Array
from homespec.data.label_values import raw_labels
from homespec.drafting import DraftError
from homespec.drafting import name_words as names
from homespec.drafting.choice import number, quoted, share
from homespec.drafting.seen import Seen
from homespec.schema.labels import Among, Column, Compared, Label

NAMED, BEHAVIOUR, ZERO_ONE, TWO_VALUES = 3, 2, 1, 0
"""The likelihood that a candidate is a label: its name says so; it names a behaviour; it holds 0
and 1; it has two values."""
YES = ("yes", "true", "y", "t", "positive", "pos", "1", "success", "good", "clicked", "bought")
MAX_UNNAMED = 4
"""Maximum number of columns of 0 and 1 that become labels without a suggestive name; if there are
more, none does."""
MIN_EACH = 3
"""Minimum number of a candidate's rows with each value."""


@dataclass(frozen=True)
class Candidate:
    """A column that may be a label, or a label that the user gives."""

    label: Label
    column: str
    """The column that gives the task its name."""
    values: Array
    """The label of each row of the sample [N], NaN if missing."""
    strength: int
    why: str
    regression: bool = False

    @property
    def rate(self) -> float:
        """The share of positives; NaN if there are no labels."""
        known = self.values[~np.isnan(self.values)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def said_rate(self) -> str:
        """The rate in words, or a remark that it is a regression or has no labels."""
        if self.regression:
            return "a number"
        return "no labels" if np.isnan(self.rate) else share(self.rate, 1)

    @property
    def counted(self) -> str:
        """Positives and rows, for a comment."""
        known = self.values[~np.isnan(self.values)]
        return f"{share(known.sum(), len(known))} of {len(known):,} rows"


def candidates(
    columns: Iterable[Seen], owners: Mapping[str, str], table: pa.Table
) -> Iterator[Candidate]:
    """Columns that may be labels; `owners` has columns that are functions of an id."""
    for seen in columns:
        if seen.name in owners or "`" in seen.name or not seen.name.strip():
            continue
        found = _candidate(seen)
        if found is not None and "\n" not in seen.name:
            label, strength, why = found
            values = _values(label, table)
            if values is not None and _has_both(values):
                yield Candidate(label, seen.name, values, strength, why)


def _candidate(seen: Seen) -> tuple[Label, int, str] | None:
    """The label of a column, its likelihood, and the reason."""
    column, numbers = Column(seen.name), seen.numbers
    if seen.is_binary:
        if names.is_named_label(seen.name):
            return Label(column), NAMED, "named like a label"
        if names.is_behaviour(seen.name):
            return Label(column), BEHAVIOUR, "named like a behaviour"
        return Label(column), ZERO_ONE, "0 and 1"
    if numbers is not None and set(numbers.tolist()) == {-1.0, 0.0, 1.0}:
        if names.is_named_label(seen.name) or names.is_behaviour(seen.name):
            return Label(column, None, -1.0), BEHAVIOUR, "-1 where it is not known"
        return None
    if numbers is not None and names.has(seen.name, names.RATINGS) and 3 <= seen.distinct <= 21:
        least = float(np.ceil(0.8 * numbers.max()))
        if numbers.min() < least:
            return Label(column, Compared(">=", least)), BEHAVIOUR, "a rating"
        return None
    if seen.distinct == 2:
        strength = NAMED if names.is_named_label(seen.name) else TWO_VALUES
        return Label(column, positive(seen)), strength, "two values"
    return None


def positive(seen: Seen) -> Among | Compared:
    """The test for the value that means yes, or else for the rarer value."""
    if seen.numbers is not None:
        return Compared("==", float(seen.numbers.max()))
    common, rare = seen.texts
    yes = next((text for text in (common, rare) if text.strip().lower() in YES), rare)
    return Among((yes,))


def _values(label: Label, table: pa.Table) -> Array | None:
    try:
        return raw_labels("a label", label, table).astype(np.float64)
    except DataError:
        return None


def _has_both(values: Array) -> bool:
    known = values[~np.isnan(values)]
    fewest = min(MIN_EACH, max(1, len(known) // 4))
    return bool(len(known) and fewest <= known.sum() <= len(known) - fewest)


def chosen(found: list[Candidate], order: list[str], unlike: list[Seen]) -> list[Candidate]:
    """The candidates that become tasks if the user names none. Raises DraftError.

    `unlike` are columns with the name of a label but other values. They are more likely to be meant
    than an arbitrary column of 0 and 1.
    """
    best = max((candidate.strength for candidate in found), default=-1)
    if best >= BEHAVIOUR:
        return [candidate for candidate in found if candidate.strength >= BEHAVIOUR]
    if unlike:
        raise DraftError(_why_not(unlike[0]))
    same = [candidate for candidate in found if candidate.strength == best]
    ends = [each for name in (order[-1:], order[:1]) for each in same if each.column in name]
    if len(same) > 1 and ends:
        same = ends[:1]
    if not same or len(same) > (MAX_UNNAMED if best == ZERO_ONE else 1):
        raise DraftError(_which(same))
    return same


def _why_not(seen: Seen) -> str:
    """The remark on a column with the name of a label but other values."""
    name = quoted(seen.name)[1:-1]
    option = f"--label '{name if name.isidentifier() else f'`{name}`'}"
    if seen.distinct < 2:
        held = f"is {quoted(seen.texts[0])} in every row" if seen.distinct else "has no value"
        return f"`{name}` {held}: there is nothing to learn. Name another label by --label"
    if seen.distinct == 2:
        few = quoted(seen.texts[1])
        return (
            f"`{name}` is {few} in {seen.counts.min()} of {seen.present:,} rows: too few to learn"
        )
    what = f"`{name}` may be the label, but it has {seen.distinct:,} different values"
    if seen.numbers is None:
        text = quoted(seen.texts[0]).replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")
        return f"{what}: say which count as positive, such as {option} == {text}'"
    middle = number(float(np.median(seen.numbers))).replace(",", "")
    test = "> 0" if names.is_behaviour(seen.name) else f">= {middle}"
    return (
        f"{what}: say which count as positive, such as {option} {test}', or predict the number"
        f" itself by {option}'"
    )


def _which(same: list[Candidate]) -> str:
    if not same:
        return (
            "no column looks like a label (0 and 1, or two values): name one by --label, as a"
            " column or a test such as --label 'rating >= 4' or --label 'status == \"bought\"'"
        )
    some = ", ".join(f"{quoted(each.column)[1:-1]} ({share(each.rate, 1)})" for each in same[:6])
    more = f" and {len(same) - 6} more" if len(same) > 6 else ""
    return (
        f"{len(same)} columns have two values and no name that suggests a label: {some}{more}. Name"
        " those to predict by --label, which may be repeated"
    )
