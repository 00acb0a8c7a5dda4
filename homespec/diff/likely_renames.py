"""What has probably been renamed: things of an old spec that are gone, and new ones like them.

A suggestion needs evidence that an ordinary removal beside an ordinary addition does not give: the
same label or column of the data, the same factors, most of the same members, or the same name but
for its spelling. It is made only if nothing else is like either of the two.
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
"""Letters of a name in which one mistyped letter does not make another word."""


def likely_renames(old: Spec, new: Spec, renames: Renames) -> Likely:
    """Names that are gone, with what they are probably called now, besides those in `renames`."""
    features = _features(old, new, renames)
    # a table that others are looked up in, or events, may have been renamed as well
    known = Renames({**renames.features, **_names(features)}, renames.places)
    features += _features(old, new, known)
    tasks = _tasks(old, new, renames)
    known = Renames({}, {**renames.places, **_names(tasks)})
    return Likely(features, [*tasks, *_groups(old, new, known)])


class Rename(NamedTuple):
    """A name that is gone, the new one, and why they are probably of one thing."""

    old: str
    new: str
    reason: str


class Likely(NamedTuple):
    """What has probably been renamed: features, and tasks with groups."""

    features: list[Rename]
    places: list[Rename]


def _names(renames: Iterable[Rename]) -> dict[str, str]:
    return {rename.old: rename.new for rename in renames}


def _matched(
    old: Mapping[str, T], new: Mapping[str, T], known: Mapping[str, str], alike: Like[T]
) -> list[Rename]:
    """Pairs of a removed and a new entry that resemble each other, and nothing else."""
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
"""In what an old thing and a new one are alike, by their names and what the specs say of them;
"" if they are not."""


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
        most = 2 * len(members & others) > len(members | others)  # of two parts, one at most
        return "has most of the same members" if most else ""

    return _matched(old.groups, new.groups, renames.places, alike)


def _features(old: Spec, new: Spec, renames: Renames) -> list[Rename]:
    was = functools.cache(lambda name: _definition(old.features[name], renames))
    now = functools.cache(lambda name: _definition(new.features[name], SAME))

    def alike(a: str, before: Feature, b: str, after: Feature) -> str:
        if was(a) != now(b):
            return ""
        if _columns(a, before, renames) == _columns(b, after, SAME):
            return "has the same column" + ("s" if before.kind == "sequence" else "")
        own = _has_own_columns(a, before) and _has_own_columns(b, after)
        return "has almost the same name" if own and are_spellings(a, b) else ""

    return _matched(old.features, new.features, renames.features, alike)


def _definition(feature: Feature, renames: Renames) -> dict[str, Any]:
    """What a feature is, under the new names, without the columns that it comes from."""
    said = feature.model_dump(exclude={"column", "was"}, exclude_unset=True)
    said |= {"table": renames.feature(feature.table)} if feature.table else {}
    if feature.kind == "sequence":
        sequence = feature.sequence.model_dump(exclude={"columns", "of"}, exclude_unset=True)
        said["sequence"] = {**sequence, "of": [*map(renames.feature, feature.sequence.of)]}
    return said


def _columns(name: str, feature: Feature, renames: Renames) -> dict[str, str]:
    """The columns of the data by field; a feature has one, by no name."""
    if feature.kind != "sequence":
        return {"": feature.column}
    sequence = feature.sequence
    return {renames.feature(f): event_column(name, sequence, f) for f in sequence.fields}


def _has_own_columns(name: str, feature: Feature) -> bool:
    """Whether columns are called after the feature, as they are by default."""
    if feature.kind == "sequence":
        return not feature.sequence.columns
    return feature.column == name


def are_spellings(a: str, b: str) -> bool:
    """Whether two names are one but for separators, the order of words, or a mistyped letter.

    Numbers have to be the same: `watch_5s` is another thing than `watch_6s`.
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
