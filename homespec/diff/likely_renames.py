"""Probable renames: removed entries of an old spec, and new entries that resemble them.

A suggestion needs evidence that an ordinary removal and an ordinary addition would not give: the
same label or column of the data, the same factors, most of the same members, or the same name
spelled differently. It is made only if nothing else resembles either of the two.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from homespec.diagnostics.suggest import SEPARATORS, edits, folded
from homespec.graph.identity import SAME, Renames
from homespec.schema.input_tensors import event_column
from homespec.schema.models import Feature, Group, Spec, Task

T = TypeVar("T", Feature, Group, Task)

LONG = 6
"""Shortest name, in letters, in which one mistyped letter does not make another word."""


def likely_renames(old: Spec, new: Spec, renames: Renames) -> Likely:
    """Removed names with their probable new names, in addition to those in `renames`."""
    features = _features(old, new, renames)
    # events, or a table that others share, may also have been renamed
    known = Renames({**renames.features, **_names(features)}, renames.places)
    features += _features(old, new, known)
    tasks = _tasks(old, new, renames)
    known = Renames({}, {**renames.places, **_names(tasks)})
    return Likely(features, [*tasks, *_groups(old, new, known)])


class Rename(NamedTuple):
    """A removed name, the new one, and the evidence that both name the same thing."""

    old: str
    new: str
    reason: str


class Likely(NamedTuple):
    """Probable renames of features, and of tasks and groups."""

    features: list[Rename]
    places: list[Rename]


def _names(renames: Iterable[Rename]) -> dict[str, str]:
    return {rename.old: rename.new for rename in renames}


def _matched(
    old: Mapping[str, T], new: Mapping[str, T], known: Mapping[str, str], alike: Like[T]
) -> list[Rename]:
    """Pairs of a removed and a new entry that resemble each other and nothing else."""
    gone = [name for name in old if known.get(name, name) not in new]
    taken = {known.get(name, name) for name in old}
    added = [name for name in new if name not in taken]
    found = (Rename(a, b, alike(a, old[a], b, new[b])) for a in gone for b in added)
    pairs = [rename for rename in found if rename.reason]
    return [
        rename
        for rename in pairs
        if not any(r != rename and (r.old == rename.old or r.new == rename.new) for r in pairs)
    ]


Like = Callable[[str, T, str, T], str]
"""The evidence that an old and a new entry are the same; "" if there is none."""


def _tasks(old: Spec, new: Spec, renames: Renames) -> list[Rename]:
    kept = {name for name in map(renames.place, old.tasks) if name in new.tasks}
    labels = {new.tasks[name].label for name in kept}

    def alike(a: str, before: Task, b: str, after: Task) -> str:
        if (before.kind, bool(before.product)) != (after.kind, bool(after.product)):
            return ""
        if before.product and tuple(map(renames.place, before.product)) == after.product:
            return "has the same factors"
        if before.label == after.label:
            return "" if before.label in labels else "has the same label"
        is_spelling = (before.label, after.label) == (a, b) and are_spellings(a, b)
        return "has almost the same name" if is_spelling else ""

    return _matched(old.tasks, new.tasks, renames.places, alike)


def _groups(old: Spec, new: Spec, renames: Renames) -> list[Rename]:
    def alike(a: str, before: Group, b: str, after: Group) -> str:
        members, others = set(map(renames.place, before.members)), set(after.members)
        if members == others:
            return "has the same members"
        most = 2 * len(members & others) > len(members | others)  # after a split, at most one part
        return "has most of the same members" if most else ""

    return _matched(old.groups, new.groups, renames.places, alike)


def _features(old: Spec, new: Spec, renames: Renames) -> list[Rename]:
    was = functools.cache(lambda name: _definition(old.features[name], renames))
    now = functools.cache(lambda name: _definition(new.features[name], SAME))

    def alike(a: str, before: Feature, b: str, after: Feature) -> str:
        if was(a) != now(b):
            return ""
        if before.kind == "cross":
            return "is a cross of the same ids"
        if _columns(a, before, renames) == _columns(b, after, SAME):
            return "has the same column" + ("s" if before.kind == "sequence" else "")
        own = _has_own_columns(a, before) and _has_own_columns(b, after)
        return "has almost the same name" if own and are_spellings(a, b) else ""

    return _matched(old.features, new.features, renames.features, alike)


def _definition(feature: Feature, renames: Renames) -> dict[str, Any]:
    """The definition of a feature under the new names, without its columns."""
    said = feature.model_dump(exclude={"column", "was"}, exclude_unset=True)
    said |= {"table": renames.feature(feature.table)} if feature.table else {}
    if feature.kind == "cross":
        said["cross"] = {**said["cross"], "of": [*map(renames.feature, feature.cross.of)]}
    if feature.kind == "sequence":
        sequence = feature.sequence.model_dump(exclude={"columns", "of"}, exclude_unset=True)
        said["sequence"] = {**sequence, "of": [*map(renames.feature, feature.sequence.of)]}
    return said


def _columns(name: str, feature: Feature, renames: Renames) -> dict[str, str]:
    """The columns of the data by field; a feature itself has one, under ""."""
    if feature.kind != "sequence":
        return {"": feature.column}
    sequence = feature.sequence
    return {renames.feature(f): event_column(name, sequence, f) for f in sequence.fields}


def _has_own_columns(name: str, feature: Feature) -> bool:
    """Whether columns have the name of the feature, which is the default."""
    if feature.kind == "sequence":
        return not feature.sequence.columns
    return feature.column == name


def are_spellings(a: str, b: str) -> bool:
    """Whether two names differ only in separators, the order of words, or a mistyped letter.

    Numbers must be the same: `watch_5s` is not `watch_6s`.
    """
    if _numbers(a) != _numbers(b):
        return False
    ours, theirs = folded(a), folded(b)
    if ours == theirs or sorted(_words(a)) == sorted(_words(b)):
        return True
    return min(len(ours), len(theirs)) >= LONG and edits(ours, theirs, 1) <= 1


def _words(name: str) -> Iterable[str]:
    return SEPARATORS.split(name.casefold())


def _numbers(name: str) -> str:
    return "".join(letter for letter in name if letter.isdigit())
