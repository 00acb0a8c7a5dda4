"""Drafting: the labels that the user gives, as columns or tests of columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa

from homespec.data import DataError
from homespec.data.label_values import raw_labels
from homespec.diagnostics.suggest import closest, listing
from homespec.drafting import DraftError
from homespec.drafting.choice import number, quoted
from homespec.drafting.labels import NAMED, Candidate, positive
from homespec.drafting.seen import Seen
from homespec.schema import label_tokens
from homespec.schema.label_parser import parse_label
from homespec.schema.labels import Column, Label

SHOWN = 4
"""Maximum number of a column's texts in a message."""


def given(
    texts: tuple[str, ...], columns: Mapping[str, Seen], others: Collection[str], table: pa.Table
) -> list[Candidate]:
    """A candidate for each of the user's labels. Raises DraftError.

    `others` are columns that cannot be labels, such as lists.
    """
    return [_given(text, columns, others, table) for text in dict.fromkeys(texts)]


def _given(
    text: str, columns: Mapping[str, Seen], others: Collection[str], table: pa.Table
) -> Candidate:
    label = _parsed(text, {*columns, *others})
    for name in label.columns:
        if name in others:
            raise DraftError(f"--label {text}: `{name}` holds no single numbers or texts")
        if name not in columns:
            close = closest(name, columns)
            hint = f"did you mean `{close}`?" if close else f"the columns are {listing(columns)}"
            raise DraftError(f"--label {text}: there is no column `{name}`; {hint}")
    regression = False
    if label.is_bare:
        label, regression = _of_column(text, columns[label.columns[0]])
    elif label.test is None:
        regression = True
    try:
        values = raw_labels(f"--label {text}", label, table).astype(np.float64)
    except DataError as error:
        raise DraftError(str(error)) from None
    return Candidate(label, label.columns[0], values, NAMED, "by --label", regression)


def _parsed(text: str, columns: Collection[str]) -> Label:
    """The column with exactly this name, or else the parsed text."""
    if text in columns and "`" not in text and "\n" not in text:
        return Label(Column(text))
    try:
        return parse_label(text)
    except label_tokens.LabelError as error:
        raise DraftError(f"--label {text}: {error}") from None


def _of_column(text: str, seen: Seen) -> tuple[Label, bool]:
    """The label of a column, and whether it is a regression."""
    label = Label(Column(seen.name))
    if not seen.distinct:
        raise DraftError(f"--label {text}: the column has no value in any row that was read")
    if seen.numbers is None:
        if seen.distinct == 2:
            return Label(Column(seen.name), positive(seen)), False
        if seen.distinct == 1 or pa.types.is_temporal(seen.kind):
            raise DraftError(f"--label {text}: the column holds no numbers and no two texts")
        some = ", ".join(quoted(each) for each in seen.texts[:SHOWN])
        first = seen.texts[0].replace("'", "’")
        raise DraftError(
            f"--label {text}: the column has {seen.distinct:,} texts, such as {some}. Say which of"
            f" them count as positive: --label '{seen.name} == {quoted(first)}'"
        )
    values = set(seen.numbers.tolist())
    if values <= {0.0, 1.0}:
        return label, False
    if values == {-1.0, 0.0, 1.0}:
        return Label(Column(seen.name), None, -1.0), False
    if len(values) == 2:
        return Label(Column(seen.name), positive(seen)), False
    return label, True


def describe(candidate: Candidate) -> str:
    """The comment on a regression."""
    known = candidate.values[np.isfinite(candidate.values)]
    if not len(known):
        return "no label in the rows that were read"
    return f"mean {number(float(known.mean()))}, {number(float(known.min()))} to" \
        f" {number(float(known.max()))}"  # fmt: skip
