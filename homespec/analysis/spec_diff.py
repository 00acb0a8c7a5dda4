"""The differences between the models of two specs, by path.

The explicit forms are compared, in which every default is written out and a family is written as
layers, so another way to write the same model makes no difference. The order of features, tasks and
experts counts, because it is the order of columns and rows of weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from homespec.analysis.expand import explicit
from homespec.lower import Lowered

Tree = dict[str, Any]

FREE = {
    *("description", "version", "extends", "homespec", "family", "experts", "gates", "towers"),
    "expect",
}
"""Keys that do not matter, and keys whose effect shows in the layers and tasks."""
ONE_OF = {"features": "feature", "groups": "group", "tasks": "task", "layers": "layer"}


class Change(NamedTuple):
    """A path of the spec and the difference there, phrased to follow the path."""

    path: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        """``feature `tab` is new``, or `` `tasks.like.weight` is 2.0, was 1.0``."""
        if len(self.path) == 2 and self.path[0] in ONE_OF:
            return f"{ONE_OF[self.path[0]]} `{self.path[1]}`{self.text}"
        return (f"`{'.'.join(self.path)}`" if self.path else "the spec") + self.text


def model_tree(lowered: Lowered, *, defaults: bool = True) -> Tree:
    """The parts of the explicit form that define the model, as JSON, with layers by name.

    Without `defaults`, keys that have the language's default are left out.
    """
    tree = explicit(lowered).model_dump(mode="json", exclude=FREE, exclude_defaults=not defaults)
    groups = {name: group["members"] for name, group in tree.get("groups", {}).items()}
    layers = {layer["name"]: layer for layer in tree["layers"]}
    return {**tree, "groups": groups, "layers": layers}


def known_to(before: Tree, now: Tree, given: Tree) -> Tree:
    """`now` without keys that an older homespec does not know and that have no effect.

    `given` is `now` without defaults. A key that it lacks has the value that the model had before
    the key existed.
    """
    return {
        key: known_to(before[key], value, given.get(key, {}))
        if isinstance(value, dict) and isinstance(before.get(key), dict)
        else value
        for key, value in now.items()
        if key in before or key in given
    }


def changes(before: Tree, now: Tree, path: tuple[str, ...] = ()) -> Iterator[Change]:
    """The differences of the tree `now` from `before`."""
    yield from (Change((*path, key), " was removed") for key in before if key not in now)
    yield from (Change((*path, key), " is new") for key in now if key not in before)
    both = [key for key in now if key in before]
    if both != [key for key in before if key in now]:
        yield Change(path, ": the entries are in another order")
    for key in both:
        old, new = before[key], now[key]
        if isinstance(old, dict) and isinstance(new, dict):
            yield from changes(old, new, (*path, key))
        elif old != new:
            yield Change((*path, key), f" is {_value(new)}, was {_value(old)}")


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
