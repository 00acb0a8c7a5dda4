"""Benchmark: the same model with another number of tasks.

A spec's groups get the same number of tasks each, as far as that goes. A group's tasks are its
first ones as they stand in the spec; where there are too few, copies of them with all their
options follow, called `name_2`, `name_3`, … What relates tasks to each other is dropped: sample
spaces (`where`) and products.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from homespec.analysis.yaml_writer import flow
from homespec.api import LoadedSpec, loads

LONGEST = 56
"""Names may have 63 characters: room for a number behind them."""

Copies = dict[str, list[str]]
"""Names of the new tasks by the task that they copy."""


def scaled(spec: LoadedSpec, tasks: int) -> LoadedSpec:
    """The spec with this number of tasks.

    Raises ValueError where a group would go without, SpecError if the spec then has an error.
    """
    document = spec.analysis.document
    assert document.data is not None
    data = scale_tasks(document.data, tasks)
    return loads(_text(data), f"{spec.name} with {tasks} tasks")


def text_of(spec: LoadedSpec) -> str:
    """The spec as one YAML text: what it extends and `--set` flags are in it."""
    document = spec.analysis.document
    assert document.data is not None
    return _text({key: value for key, value in document.data.items() if key != "extends"})


def _text(data: Mapping[str, Any]) -> str:
    return "".join(f"{key}: {flow(value)}\n" for key, value in data.items())


def scale_tasks(data: Mapping[str, Any], tasks: int) -> dict[str, Any]:
    """The data of a spec with this number of tasks; `data` stays as it is."""
    specs = {name: task or {} for name, task in data["tasks"].items()}
    towered = [name for name, task in specs.items() if not task.get("product")]
    groups = {name: _listed(members) for name, members in (data.get("groups") or {}).items()}
    copies = _copies(_places(groups, towered), tasks, [*specs, *groups, "shared"])
    found = {key: value for key, value in data.items() if key not in ("extends", "groups")}
    found["tasks"] = {
        copy: _options(specs[name], copy == name) for name in towered for copy in copies[name]
    }
    if groups:
        found["groups"] = {name: _spread(members, copies) for name, members in groups.items()}
    if "experts" in found:
        found["experts"] = _exceptions(found["experts"], copies)
    if isinstance(found.get("layers"), list):
        found["layers"] = [_layer(layer, copies) for layer in found["layers"]]
    return found


def _listed(members: Any) -> list[str]:
    return list(members) if isinstance(members, list | tuple) else [members]


def _places(groups: Mapping[str, list[str]], tasks: list[str]) -> list[list[str]]:
    """The tasks by the group that holds them; those of no group are together."""
    held = {member for members in groups.values() for member in members}
    below = [[member for member in members if member in tasks] for members in groups.values()]
    return [names for names in (*below, [task for task in tasks if task not in held]) if names]


def _copies(places: list[list[str]], tasks: int, taken: Sequence[str]) -> Copies:
    """The names of the new tasks; the first places get those that do not divide."""
    if tasks < len(places):
        raise ValueError(f"{tasks} tasks are too few: there are {len(places)} groups to fill")
    used = {name.lower() for name in taken}
    copies: Copies = {}
    for index, names in enumerate(places):
        share = tasks // len(places) + (index < tasks % len(places))
        copies |= {name: [name] if place < share else [] for place, name in enumerate(names)}
        for place in range(len(names), share):
            name = names[place % len(names)]
            copies[name].append(_unused(name, used))
    return copies


def _unused(name: str, used: set[str]) -> str:
    for number in count(2):
        copy = f"{name[:LONGEST]}_{number}"
        if copy.lower() not in used:
            break
    used.add(copy.lower())
    return copy


def _options(task: Mapping[str, Any], original: bool) -> dict[str, Any]:
    """A task without its relations; a copy has a label of its own."""
    gone = ("where",) if original else ("where", "label")
    return {key: value for key, value in task.items() if key not in gone}


def _spread(names: Sequence[str], copies: Copies) -> list[str]:
    """Tasks replaced by their copies; names of groups stay."""
    return [copy for name in names for copy in copies.get(name, [name])]


def _spread_keys(mapping: Mapping[str, Any], copies: Copies) -> dict[str, Any]:
    return {copy: value for name, value in mapping.items() for copy in copies.get(name, [name])}


def _exceptions(section: Any, copies: Copies) -> Any:
    """`experts`, with the exceptions (`nodes`) for tasks at whatever level made for copies too."""
    if isinstance(section, list | tuple):
        return [_exceptions(part, copies) for part in section]
    if not isinstance(section, Mapping):
        return section
    return dict(_with_exceptions(section, copies))


def _with_exceptions(section: Mapping[str, Any], copies: Copies) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if key == "nodes" and isinstance(value, Mapping):
            yield key, _spread_keys(value, copies)
        else:
            yield key, _exceptions(value, copies)


def _layer(layer: Mapping[str, Any], copies: Copies) -> dict[str, Any]:
    """A layer of a free topology: its sets and outputs for the copies too."""
    return {
        **layer,
        "experts": _spread_keys(layer["experts"], copies),
        "outputs": _spread(_listed(layer["outputs"]), copies),
    }
