"""Renames that a new spec declares with `was`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from homespec.graph.identity import Renames
from homespec.schema.models import Feature, Group, Spec, Task


def renames_of(old: Spec, new: Spec) -> Renames:
    """The old names that `was` in the new spec declares.

    A `was` is ignored if the old spec lacks this name, or already has the new one: it belongs to an
    earlier change.
    """
    groups, tasks = _renamed(old.groups, new.groups), _renamed(old.tasks, new.tasks)
    return Renames(_renamed(old.features, new.features), {**groups, **tasks})


def _renamed(old: Iterable[str], new: Mapping[str, Feature | Group | Task]) -> dict[str, str]:
    names = set(old)
    return {
        thing.was: name for name, thing in new.items() if thing.was in names and name not in names
    }
