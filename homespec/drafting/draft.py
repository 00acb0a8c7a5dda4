"""Drafting: decides on the contents of a first spec from a sample, with reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from homespec.drafting import DraftError
from homespec.drafting import name_words as names
from homespec.drafting.attributes import entities, owner_of
from homespec.drafting.choice import Choice, LeftOut, quoted
from homespec.drafting.given_labels import given
from homespec.drafting.grouping import Group, groups_of
from homespec.drafting.kinds import choose, is_time
from homespec.drafting.labels import BEHAVIOUR, Candidate, candidates, chosen
from homespec.drafting.leaks import TELLS, follows, tells
from homespec.drafting.list_choice import choose_lists
from homespec.drafting.list_text import separator_of, taken_apart
from homespec.drafting.sample import Sample
from homespec.drafting.seen import Seen, SeenLists, look_at, look_at_lists
from homespec.schema.field_types import MAX_ENTRIES
from homespec.source.scalars import resolve

WIDE = 200
"""In tables with more numbers, each becomes a column of v instead of an embedding."""
MAX_COLUMN = 200
"""Maximum length of a column's name in a spec."""


@dataclass
class Draft:
    """The contents of a table's spec."""

    sample: Sample
    tasks: list[Candidate]
    groups: list[Group]
    features: list[Choice] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    times: list[Seen] = field(default_factory=list)
    """Columns with times, by which the latest rows can be held out."""
    user: str = ""
    """The column of users; "" if no column looks like one."""


def draft(sample: Sample, labels: tuple[str, ...], advance: Callable[[int], None]) -> Draft:
    """Examine all columns. `labels` are the user's, or () to find some. Raises DraftError."""
    _check_names(sample.table.column_names)
    single, lists = _seen(sample, advance)
    known = list(entities(single.values()))
    owners = {
        seen.name: owner
        for seen in single.values()
        if (seen.distinct == 2 or is_time(seen)) and (owner := owner_of(seen, known))
    }
    found = list(candidates(single.values(), owners, sample.table))
    if labels:
        tasks = given(labels, single, [*lists, *sample.unreadable], sample.table)
    else:
        known_labels = {each.column for each in found}
        unlike = [s for s in single.values() if s.name not in known_labels and _says_label(s)]
        tasks = chosen(found, sample.table.column_names, unlike)
    rates = [float("nan") if task.regression else task.rate for task in tasks]
    result = Draft(sample, tasks, groups_of([task.values for task in tasks], rates))
    others = {each.column: each for each in found if each.strength >= BEHAVIOUR}
    result.times = [seen for seen in single.values() if is_time(seen) and seen.name not in owners]
    result.user = next((s.name for s in known if names.has(s.name, names.USERS)), "")
    _choose_features(result, single, lists, owners, others)
    if not result.features:
        why = "; ".join(f"{quoted(out.column)}: {out.reason}" for out in result.left_out[:3])
        raise DraftError(f"no column can be an input ({why or 'all are labels'})")
    return result


def _says_label(seen: Seen) -> bool:
    """Whether a column has the name of a label, or is a behaviour that is counted or constant."""
    if names.is_behaviour(seen.name):
        return seen.distinct == 1 or seen.is_count
    return names.is_only_label(seen.name)


def _check_names(columns: list[str]) -> None:
    """Raise DraftError if most names are numbers, as in a file without a header."""
    numbers = [name for name in columns if isinstance(resolve(name.strip()), int | float)]
    if len(numbers) > len(columns) / 2:
        raise DraftError(
            f"most columns have numbers for names, such as {quoted(numbers[0])}: the first line of"
            " a CSV file has to name the columns"
        )


def _seen(
    sample: Sample, advance: Callable[[int], None]
) -> tuple[dict[str, Seen], dict[str, SeenLists]]:
    """All columns, with those of lists separate."""
    single: dict[str, Seen] = {}
    lists: dict[str, SeenLists] = {}
    table, total = sample.table, sample.rows
    for name in table.column_names:
        column = table[name]
        separator: str | None = ""
        if not pa.types.is_nested(column.type):
            single[name] = look_at(name, column, sample.half, total)
            separator = separator_of(single[name])
        if separator is not None:
            single.pop(name, None)
            apart = taken_apart(column, name, separator)
            lists[name] = look_at_lists(name, apart, separator, sample.half, total)
        advance(1)
    return single, lists


def _choose_features(
    result: Draft,
    single: Mapping[str, Seen],
    lists: Mapping[str, SeenLists],
    owners: Mapping[str, str],
    others: Mapping[str, Candidate],
) -> None:
    """Add the features to the draft, and skipped columns with the reason."""
    labels = {task.column for task in result.tasks}
    wide = sum(seen.numbers is not None for seen in single.values()) > WIDE
    ids: dict[str, Seen] = {}
    for name, seen in single.items():
        if name in labels:
            continue
        reason = _unfit(name) or _leak(seen, result.tasks, owners, others)
        choice = LeftOut(name, reason) if reason else choose(seen, wide)
        if isinstance(choice, Choice):
            choice = _noted(choice, result.tasks)
            if "id" in choice.options:
                ids[name] = seen
        _add(result, choice)
    reasons = {
        name: _unfit(name) or _list_leak(seen, result)
        for name, seen in lists.items()
        if name not in labels
    }
    result.left_out += [LeftOut(name, reason) for name, reason in reasons.items() if reason]
    for choice in choose_lists((lists[name] for name in reasons if not reasons[name]), ids):
        _add(result, choice)
    result.left_out += [LeftOut(*each) for each in result.sample.unreadable.items()]
    result.left_out += [
        LeftOut(choice.column, f"a spec has {MAX_ENTRIES:,} features at most")
        for choice in result.features[MAX_ENTRIES:]
    ]
    del result.features[MAX_ENTRIES:]


def _noted(choice: Choice, tasks: list[Candidate]) -> Choice:
    """The choice, with a remark if its column is part of a label."""
    of = next((task for task in tasks if choice.column in task.label.columns), None)
    if of is None:
        return choice
    return replace(choice, comment=f"{choice.comment}; part of a label: is it known before?")


def _add(result: Draft, choice: Choice | LeftOut) -> None:
    if isinstance(choice, Choice):
        result.features.append(choice)
    else:
        result.left_out.append(choice)


def _unfit(name: str) -> str:
    """Why a spec cannot name a column; "" if it can."""
    if not name:
        return "the column has no name"
    return "its name is longer than a spec may have" if len(name) > MAX_COLUMN else ""


def _leak(
    seen: Seen,
    tasks: list[Candidate],
    owners: Mapping[str, str],
    others: Mapping[str, Candidate],
) -> str:
    """Why a column would reveal a label to the model; "" if it does not."""
    if seen.name in others:
        other = others[seen.name]
        return f"it may be another label: {other.label}, {other.counted}; {other.why}"
    if names.is_only_label(seen.name) and seen.distinct > 1:
        return "its name says that it is a label; if it is one, name it by --label"
    if names.is_spent_time(seen.name) and seen.name not in owners and seen.numbers is not None:
        return "its name suggests that it is known only after the event"
    if found := _told(seen, tasks):
        return f"it almost determines {found} of this column"
    for task in tasks:
        if task.regression and (found := follows(seen, task.values)):
            return f"it is {task.label} {found}"
    return ""


def _list_leak(seen: SeenLists, draft: Draft) -> str:
    """Why the lengths of lists would reveal a label to the model; "" if they do not.

    For example, a list of bought items is empty without a purchase.
    """
    sizes = look_at(seen.name, pa.chunked_array([seen.sizes]), draft.sample.half, draft.sample.rows)
    found = _told(sizes, draft.tasks)
    return f"how long its lists are almost determines {found}" if found else ""


def _told(seen: Seen, tasks: list[Candidate]) -> str:
    """The first label that a column almost determines, with the AUC; "" if there is none."""
    binary = [task for task in tasks if not task.regression]
    for task, auc in zip(binary, tells(seen, [task.values for task in binary]), strict=True):
        if auc >= TELLS:
            return f"{task.label}: AUC {auc:.3f}"
    return ""
