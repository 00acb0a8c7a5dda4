"""`homespec bench` on the same model with other numbers of tasks.

    python benchmarks/scaling.py SPEC.yaml --tasks 4,8,16 [--json FILE] [options of homespec bench]

Each number is measured in a process of its own; `--json` gets the cases of all, and
benchmarks/plots.py draws them. A spec's groups get the same number of tasks each, as far as that
goes. A group's tasks are its first ones as they are in the spec; where there are too few, copies
of them with all their options follow, called `name_2`, `name_3`, … What relates tasks to each
other is dropped: sample spaces (`where`) and products.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import lab

import homespec
from homespec.api import LoadedSpec
from homespec.atomic_write import write_texts
from homespec.bench.compile_time import as_yaml

MAX_NAME = 56
"""Names may have 63 characters: room for a number after them."""

Copies = dict[str, list[str]]
"""Names of the new tasks by the task that they copy."""


def scaled(spec: LoadedSpec, tasks: int) -> LoadedSpec:
    """The spec with this number of tasks.

    Raises ValueError where a group would go without, SpecError if the spec then has an error.
    """
    document = spec.analysis.document
    assert document.data is not None
    text = as_yaml(scale_tasks(document.data, tasks))
    return homespec.loads(text, f"{spec.name} with {tasks} tasks")


def scale_tasks(data: Mapping[str, Any], tasks: int) -> dict[str, Any]:
    """The data of a spec with this number of tasks; `data` stays as it is."""
    specs = {name: task or {} for name, task in data["tasks"].items()}
    towered = [name for name, task in specs.items() if not task.get("product")]
    groups = {name: _listed(members) for name, members in (data.get("groups") or {}).items()}
    copies = _copies(_places(groups, towered), tasks, [*specs, *groups, "shared"])
    result = {key: value for key, value in data.items() if key not in ("extends", "groups")}
    result["tasks"] = {
        copy: _options(specs[name], copy == name) for name in towered for copy in copies[name]
    }
    if groups:
        result["groups"] = {name: _spread(members, copies) for name, members in groups.items()}
    if "experts" in result:
        result["experts"] = _exceptions(result["experts"], copies)
    if isinstance(result.get("layers"), list):
        result["layers"] = [_layer(layer, copies) for layer in result["layers"]]
    return result


def _listed(members: Any) -> list[str]:
    """One member, a list of them, or a group with other options."""
    members = members["members"] if isinstance(members, Mapping) else members
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
        copy = f"{name[:MAX_NAME]}_{number}"
        if copy.lower() not in used:
            break
    used.add(copy.lower())
    return copy


def _options(task: Mapping[str, Any], original: bool) -> dict[str, Any]:
    """A task without its relations; a copy has a label of its own."""
    dropped = ("where",) if original else ("where", "label", "was")
    return {key: value for key, value in task.items() if key not in dropped}


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


# ---------------------------------------------------------------- measuring


def measure(spec: LoadedSpec, options: Sequence[str]) -> dict[str, Any]:
    """What `homespec bench --json` writes of a spec, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="homespec-scaling-") as folder:
        file, result = Path(folder, f"{spec.name}.yaml"), Path(folder, "result.json")
        data = spec.analysis.document.data
        assert data is not None
        file.write_text(as_yaml(data), "utf-8")
        command = [sys.executable, "-m", "homespec", "bench", str(file), *options]
        done = subprocess.run([*command, "--json", str(result)], check=False)  # noqa: S603
        if not result.exists():
            raise SystemExit(done.returncode)
        measured: dict[str, Any] = json.loads(result.read_text("utf-8"))
        return measured


def main() -> None:
    """Measure each number of tasks, and keep all cases where it was asked for."""
    parser = lab.parser(__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--tasks", type=lab.integers, required=True, help="such as 4,8,16")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given, options = parser.parse_known_args()
    spec = homespec.load(given.spec, given.set)
    result: dict[str, Any] = {}
    try:
        specs = [scaled(spec, tasks) for tasks in given.tasks]
    except ValueError as error:
        parser.error(str(error))
    for one in specs:
        measured = measure(one, options)
        result = result or {**measured, "file": str(given.spec), "cases": []}
        result["cases"] += measured["cases"]
        result["complete"] = measured["complete"]
        if not measured["complete"]:
            break
    if given.json:
        write_texts({given.json: json.dumps(result, indent=1, ensure_ascii=False) + "\n"})


if __name__ == "__main__":
    main()
