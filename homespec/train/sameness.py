"""Training: what tells the model of one spec from that of another, for checkpoints.

Compared are the explicit forms, in which every default is written out and a family is its layers:
other words for the same model are no difference. The order of features, tasks and experts counts,
since it is the order of the columns and rows of weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import homespec
from homespec.analysis.expand import expanded
from homespec.train import RunError

if TYPE_CHECKING:
    from homespec.api import LoadedSpec

Tree = dict[str, Any]

SHOWN = 6
FREE = ("description", "extends", "homespec", "family", "experts", "gates", "towers")
"""Keys that do not matter, and those whose effect stands in the layers and tasks."""
ONE_OF = {"features": "feature", "groups": "group", "tasks": "task", "layers": "layer"}


def explicit(spec: LoadedSpec) -> Tree:
    """The explicit form of a spec as JSON."""
    tree = homespec.loads(expanded(spec.analysis)).model_dump(mode="json")
    layers = {layer["name"]: layer for layer in tree.pop("layers")}
    return {key: value for key, value in tree.items() if key not in FREE} | {"layers": layers}


def check_same(before: Tree, now: Tree, where: str) -> None:
    """Raise RunError that says what differs; `where` is the checkpoint of `before`."""
    found = list(differences(before, now))
    if not found:
        return
    more = f"; and {len(found) - SHOWN} more differences" if len(found) > SHOWN else ""
    raise RunError(
        f"{where} is of another spec: {'; '.join(found[:SHOWN])}{more}."
        " Resume it with its own spec and --set, or start another run in another --out"
    )


def differences(before: Tree, now: Tree, path: tuple[str, ...] = ()) -> Iterator[str]:
    """What `now` has otherwise than `before`."""
    for key in before:
        if key not in now:
            yield f"{_called((*path, key))} is gone"
    for key in now:
        if key not in before:
            yield f"{_called((*path, key))} is new"
    both = [key for key in now if key in before]
    if both != [key for key in before if key in now]:
        yield f"{_called(path) if path else 'the spec'}: the entries are in another order"
    for key in both:
        old, new = before[key], now[key]
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differences(old, new, (*path, key))
        elif old != new:
            yield f"{_called((*path, key))} is {_value(new)}, was {_value(old)}"


def _called(path: tuple[str, ...]) -> str:
    """A place of the spec: of a feature or task with its name in front."""
    if len(path) == 2 and path[0] in ONE_OF:
        return f"{ONE_OF[path[0]]} `{path[1]}`"
    return f"`{'.'.join(path)}`"


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
