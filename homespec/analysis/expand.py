"""The whole spec with every default written out, and for each value the line that gives it.

The result is itself a valid spec, and its graph is the same. Experts are told node by node and
gates layer by layer, so nothing is inherited any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from homespec.analysis.yaml_text import Entry, Line, Section, write
from homespec.compiler import Analysis
from homespec.lower.layers import Layer, Path
from homespec.lower.tree import Role, TreeNode
from homespec.schema.models import ExpertSet, Feature, Style, Task, overlay
from homespec.schema.models import Tower as TowerConfig
from homespec.source import Document

MODELINE = "# yaml-language-server:"
SHORT = {"count": (int,), "enabled": (bool, dict)}
"""Keys that a section gives without naming them: `shared: 4`, `self: true`, `feature: {…}`."""


def expanded(analysis: Analysis) -> str:
    """The text of the expanded spec; comments say `line 12` or `default`."""
    document = analysis.document
    first = document.text.partition("\n")[0].rstrip("\r")
    head = [first] if first.startswith(MODELINE) else []
    head.append(f"# Every value of {document.file} and the line that gives it,")
    head.append("# printed by: homespec show --expanded")
    return "\n".join([*head, *write(_spec(analysis))]) + "\n"


def _spec(analysis: Analysis) -> Iterator[Entry]:
    spec, document = analysis.spec, analysis.document
    for key in ("homespec", "name", "description", "family"):
        yield _line(document, key, getattr(spec, key), [()])
    yield Section("features", [_feature(document, n, f) for n, f in spec.features.items()])
    groups = spec.groups.items()
    yield Section("groups", [_line(document, n, members, [("groups",)]) for n, members in groups])
    yield Section("tasks", [_task(analysis, name, task) for name, task in spec.tasks.items()])
    *meta, task_layer = analysis.layers
    experts = [Section(layer.name, _experts(analysis, layer)) for layer in meta]
    last = Section("task", _experts(analysis, task_layer))
    yield Section("experts", [Section("meta", experts, is_list=True), last])
    gates = [Section(layer.name, _gates(document, layer)) for layer in meta]
    last = Section("task", _gates(document, task_layer))
    yield Section("gates", [Section("meta", gates, is_list=True), last])


def _feature(document: Document, name: str, feature: Feature) -> Section:
    kind = feature.kind
    value = getattr(feature, kind)
    values: dict[str, Any] = {
        kind: value.model_dump(include=value.model_fields_set) if kind == "id" else value,
        "dim": feature.dim,
        "column": feature.column,
    }
    if kind == "dense":
        del values["dim"]
    path = ("features", name)
    return Section(name, [_line(document, key, v, [path]) for key, v in values.items()])


def _task(analysis: Analysis, name: str, task: Task) -> Section:
    document = analysis.document
    path = ("tasks", name)
    lines: list[Entry] = [
        _line(document, key, getattr(task, key), [path]) for key in ("label", "weight", "rate")
    ]
    tower = overlay(analysis.spec.towers, task.tower, to=TowerConfig)
    sections: list[Path] = [(*path, "tower"), ("towers",)]
    keys = TowerConfig.model_fields
    parts = [_line(document, key, getattr(tower, key), sections) for key in keys]
    return Section(name, [*lines, Section("tower", parts)])


def _experts(analysis: Analysis, layer: Layer) -> list[Entry]:
    """The root's set under `shared`, all other ones under `nodes`."""
    root = analysis.root
    nodes = list(root.walk()) if layer.name == Role.TASK else layer.outputs
    parts = [_set(analysis.document, layer, node) for node in nodes]
    return [parts[0], Section("nodes", parts[1:])]


def _set(document: Document, layer: Layer, node: TreeNode) -> Section:
    """The experts of a node; of a set that is not there, only that its count is 0."""
    role: Path = (*layer.path, node.role.value)
    own: Path = (*layer.path, "nodes", node.name)
    sections: list[Path] = [own, role, layer.path, ("experts",)]
    plan = layer.sets.get(node.name)
    experts = plan.experts if plan else ExpertSet(count=0)
    keys = ("count", *Style.model_fields) if plan else ("count",)
    lines = [_line(document, key, getattr(experts, key), sections) for key in keys]
    return Section(node.name, lines)


def _gates(document: Document, layer: Layer) -> list[Entry]:
    """The three kinds of gates of a layer; of a kind that is off, only that."""
    sections = []
    for kind in ("mixture", "feature", "self"):
        gate = getattr(layer.gates, kind)
        paths: list[Path] = [(*layer.gates_path, kind), ("gates", kind)]
        keys = list(type(gate).model_fields)
        if not getattr(gate, "enabled", True):
            keys = ["enabled"]
        lines = [_line(document, key, getattr(gate, key), paths) for key in keys]
        sections.append(Section(kind, lines))
    return list(sections)


def _line(document: Document, key: str, value: Any, sections: Iterable[Path]) -> Line:
    """A key with its value; `sections` are those that may give it, the most specific first."""
    path = next((p for section in sections for p in _giving(document, section, key)), None)
    origin = "default" if path is None else f"line {document.span(path).start.line}"
    return Line(key, value, origin)


def _giving(document: Document, section: Path, key: str) -> Iterator[Path]:
    """The path by which a section gives a key, in full or by its short form; nothing if not."""
    if document.has((*section, key)):
        yield (*section, key)
    elif key in SHORT and document.has(section):
        value: Any = document.data
        for step in section:
            value = value[step]
        if isinstance(value, SHORT[key]):
            yield section
