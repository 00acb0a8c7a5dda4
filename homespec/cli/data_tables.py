"""Command line: the contents of data, as tables of features and tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from homespec.cli.show_tables import as_text, plain_table

if TYPE_CHECKING:
    from homespec.data.profile import FeatureProfile, TaskProfile
    from homespec.data.profiled import ProfiledData

MIN_ROUNDED = 10**9
"""Numbers are rounded from this magnitude."""


def tables(data: ProfiledData, color: bool) -> str:
    """The tables as text."""
    heads = [Text(f"{part.rows:,} rows in {part.name}") for part in data.profiles]
    return as_text([*heads, _features(data), _tasks(data), *_covers(data)], color)


def _covers(data: ProfiledData) -> Iterator[Text]:
    """How many ids have a vector in the file that their table begins with."""
    from homespec.data.table_cover import covers

    for cover in covers(data):
        of_them = f"{cover.covered:,} of {cover.ids:,} ids ({_share(cover.covered, cover.ids)})"
        yield Text(cover.problem or f"{cover.file} has vectors for {of_them} of {cover.feature}")


def _features(data: ProfiledData) -> Table:
    both = data.valid is not None
    table = plain_table(
        "feature", "column", "kind", "missing#", *(["missing,\nvalid#"] if both else []),
        "ids#", "rows\nused#", *(["unseen\nin train#"] if both else []), "range or length#",
    )  # fmt: skip
    for name, train in data.train.features.items():
        valid = data.valid.features[name] if data.valid else None
        column = train.tensor.column
        shown = "" if column == name else escape(column)
        fitted, words = data.train.fitted.get(name), data.train.words.get(name)
        known = min(len(words.ids), train.tensor.words) if words else 0
        used = fitted.buckets if fitted else known
        table.add_row(escape(name), shown, *_feature(train, valid, used))
    return table


def _feature(train: FeatureProfile, valid: FeatureProfile | None, fitted: int) -> Iterator[str]:
    several = " list" if train.tensor.pool else " sequence"
    yield train.tensor.kind + (several if train.tensor.length else "")
    yield _share(train.absent, train.rows)
    if valid is not None:
        yield _share(valid.absent, valid.rows)
    is_id = train.tensor.kind == "id" and not train.problem
    full = train.distinct.full
    yield f"{'more than ' if full else ''}{len(train.distinct):,}" if is_id else "–"
    used = train.collisions.rows if train.collisions else fitted
    yield f"{used:,}" if used else "–"
    if valid is not None:
        yield _share(valid.unseen, valid.values) if is_id else "–"
    yield _extent(train)


def _extent(feature: FeatureProfile) -> str:
    if feature.problem:
        return "missing" if feature.problem == "missing" else "unusable"
    if feature.tensor.length:
        return f"up to {feature.longest:,}; {feature.values / max(1, feature.rows):.1f} on average"
    tensor = feature.tensor
    is_range = tensor.kind != "id" or (tensor.vocab and not tensor.texts)
    if not feature.values or not is_range:
        return "–"
    return f"{_number(feature.low)} to {_number(feature.high)}"


def _number(value: float) -> str:
    """Whole numbers in full, because you compare them with a vocabulary; others to four digits."""
    if abs(value) < MIN_ROUNDED and value == round(value):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _tasks(data: ProfiledData) -> Table:
    both = data.valid is not None
    table = plain_table(
        "task", "label", "samples#", "missing#", "positive#", "rate#",
        *(["rate, valid#"] if both else []), "rate in the spec#",
    )  # fmt: skip
    for name, train in data.train.tasks.items():
        task = data.spec.tasks[name]
        label = train.label + (f" where {task.where}" if task.where else "")
        label += f" by {task.sample_weight}" if task.sample_weight else ""
        label += f" within {task.within.column}" if task.within else ""
        valid = [_rate(data.valid.tasks[name])] if data.valid else []
        positive = f"{train.positives:,.0f}" if task.kind == "binary" else "–"
        table.add_row(
            escape(name), escape(label), f"{train.samples:,}", _share(train.missing, train.rows),
            positive, _rate(train), *valid, f"{task.rate:g}" if task.rate else "–",
        )  # fmt: skip
    return table


def _rate(task: TaskProfile) -> str:
    return "–" if math.isnan(task.rate) else f"{task.rate:.4g}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "–"
