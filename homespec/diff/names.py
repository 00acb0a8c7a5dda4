"""What is called otherwise in a new spec, as its `was` says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from homespec.graph.identity import Renames
from homespec.schema.models import Feature, Group, Spec, Task


def renames_of(old: Spec, new: Spec) -> Renames:
    """What `was` in the new spec says of names in the old one.

    A `was` of which the old spec knows nothing, or knows the new name already, is of a change
    before.
    """
    groups, tasks = _renamed(old.groups, new.groups), _renamed(old.tasks, new.tasks)
    return Renames(_renamed(old.features, new.features), {**groups, **tasks})


def _renamed(old: Iterable[str], new: Mapping[str, Feature | Group | Task]) -> dict[str, str]:
    names = set(old)
    return {
        thing.was: name for name, thing in new.items() if thing.was in names and name not in names
    }
