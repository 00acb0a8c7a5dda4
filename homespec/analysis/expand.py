"""The whole spec in its explicit form, and for each value the line that gives it.

The family is written out as layers, every default is given. The result is itself a valid spec, and
its graph is the same. Experts are given node by node and gates layer by layer, so nothing is
inherited any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from homespec.analysis.yaml_writer import Entry, Line, Section, as_data, write
from homespec.diagnostics.render.terminal import printable
from homespec.graph.sequences import Sequence as SequenceNode
from homespec.lower import Lowered
from homespec.resolve.families import Family, family_of
from homespec.resolve.layers import Layer, Path, SetPlan
from homespec.schema.embedded import OWNERS
from homespec.schema.models import Encoder, Feature, Sequence, Spec, Style, Task, overlay
from homespec.schema.models import Tower as TowerConfig
from homespec.schema.tensors import event_column
from homespec.source import Document

DEFAULT = "default"
MODELINE = "# yaml-language-server:"
SHORT = {"count": (int,), "enabled": (bool, dict)}
"""Keys that a section gives without naming them: `shared: 4`, `self: true`, `feature: {…}`."""


def expanded(lowered: Lowered) -> str:
    """The text of the expanded spec; comments say `line 12` or `default`."""
    document = lowered.document
    first = document.text.partition("\n")[0].rstrip("\r")
    head = [first] if first.startswith(MODELINE) else []
    head.append(f"# Every value of {printable(document.file)} and the line that gives it,")
    head.append("# printed by: homespec show --expanded")
    return "\n".join([*head, *write(_spec(lowered))]) + "\n"


def explicit(lowered: Lowered) -> Spec:
    """The spec with every default written out and its family as layers."""
    return Spec.model_validate(as_data(_spec(lowered)))


def _spec(lowered: Lowered) -> Iterator[Entry]:
    spec, document = lowered.spec, lowered.document
    for key in ("homespec", "name", "description"):
        yield _line(document, key, getattr(spec, key), [()])
    yield Section("features", [_feature(lowered, n, f) for n, f in spec.features.items()])
    groups = spec.groups.items()
    yield Section("groups", [_line(document, n, members, [("groups",)]) for n, members in groups])
    yield Section("tasks", [_task(lowered, name, task) for name, task in spec.tasks.items()])
    layers = [_layer(lowered, i, layer) for i, layer in enumerate(lowered.layers)]
    yield Section("layers", layers, is_list=True)


def _feature(lowered: Lowered, name: str, feature: Feature) -> Section:
    document, kind = lowered.document, feature.kind
    if kind == "sequence":
        return Section(name, [_sequence(lowered, name, feature.sequence)])
    value = getattr(feature, kind)
    values: dict[str, Any] = {kind: value}
    if kind == "id" or feature.quantiles:
        values = {kind: value.model_dump(include=value.model_fields_set)}
    if kind == "dense":
        values |= {"project": feature.project} if feature.project else {}
        values["missing"] = feature.missing
    values |= {"dim": feature.dim} if kind in OWNERS else {}
    values["column"] = feature.column
    path = ("features", name)
    return Section(name, [_line(document, key, v, [path]) for key, v in values.items()])


def _sequence(lowered: Lowered, name: str, sequence: Sequence) -> Section:
    """A sequence with all of its encoder's options and all columns."""
    document, path = lowered.document, ("features", name, "sequence")
    own = {field: value.model_dump(exclude_unset=True) for field, value in sequence.with_.items()}
    entries: list[Entry] = [_line(document, "of", sequence.of, [path])]
    if own:
        lines = [_line(document, field, value, [(*path, "with")]) for field, value in own.items()]
        entries.append(Section("with", lines))
    entries.append(_line(document, "max_len", sequence.max_len, [path]))
    entries.append(_encoder(lowered, name, sequence.encoder))
    columns = [(field, event_column(name, sequence, field)) for field in sequence.fields]
    lines = [_line(document, field, column, [(*path, "columns")]) for field, column in columns]
    return Section("sequence", [*entries, Section("columns", lines)])


def _encoder(lowered: Lowered, name: str, encoder: Encoder) -> Entry:
    document, path = lowered.document, ("features", name, "sequence")
    if encoder.kind == "mean":
        return _line(document, "encoder", "mean", [path])
    node = lowered.graph[f"features.{name}"]
    assert isinstance(node, SequenceNode)
    options = getattr(encoder, encoder.kind)
    values = {key: getattr(options, key) for key in type(options).model_fields}
    if "width" in values:  # not given: that of an event, or of the candidate
        values["width"] = getattr(node.encoder, "width", 0)
    lines = [
        _line(document, key, value, [(*path, "encoder", encoder.kind)])
        for key, value in values.items()
        if key != "by" or value
    ]
    return Section("encoder", [Section(encoder.kind, lines)])


def _task(lowered: Lowered, name: str, task: Task) -> Section:
    document = lowered.document
    path = ("tasks", name)
    lines: list[Entry] = [_line(document, key, getattr(task, key), [path]) for key in _keys(task)]
    if task.product:
        return Section(name, lines)
    tower = overlay(lowered.spec.towers, task.tower, to=TowerConfig)
    sections: list[Path] = [(*path, "tower"), ("towers",)]
    keys = TowerConfig.model_fields
    parts = [_line(document, key, getattr(tower, key), sections) for key in keys]
    return Section(name, [*lines, Section("tower", parts)])


def _keys(task: Task) -> list[str]:
    """The keys that say something about a task of its kind."""
    keys = ["label", "weight"] if task.product else ["kind", "label", "weight"]
    keys += ["where"] if task.where else []
    if task.product:
        return [*keys, "product"]
    return [*keys, "loss", "scale"] if task.kind == "regression" else [*keys, "rate"]


def _layer(lowered: Lowered, index: int, layer: Layer) -> Section:
    """A layer: the nodes that own experts, those that it puts out a state for, its gates."""
    document, family = lowered.document, family_of(lowered.spec)
    origin = f"family {lowered.spec.family}" if family else DEFAULT
    path: Path = ("layers", index)
    outputs = [node.name for node in layer.outputs]
    return Section(
        layer.name,
        [
            _line(document, "name", layer.name, [path]),
            _line(document, "outputs", outputs, [path], origin),
            Section("experts", [_set(document, p, family, origin) for p in layer.sets.values()]),
            Section("gates", _gates(document, layer, family, origin)),
        ],
    )


def _set(document: Document, plan: SetPlan, family: Family | None, origin: str) -> Section:
    """The experts of a node; what the family gives by default is its own."""
    published = family.experts.model_fields_set if family else set()
    lines: list[Entry] = []
    for key in ("count", "inputs", *Style.model_fields):
        value = getattr(plan.experts, key)
        own = key in published or value == "each"
        lines.append(_line(document, key, value, plan.sections, origin if own else DEFAULT))
    return Section(plan.node.name, lines)


def _gates(document: Document, layer: Layer, family: Family | None, origin: str) -> list[Entry]:
    """The three kinds of gates of a layer; of a kind that is off, only that."""
    sections = []
    for kind in ("mixture", "feature", "self"):
        gate = getattr(layer.gates, kind)
        paths: list[Path] = [(*path, kind) for path in layer.gate_sections]
        keys = list(type(gate).model_fields)
        if not getattr(gate, "enabled", True):
            keys = ["enabled"]
        published = getattr(family.gates, kind).model_fields_set if family else set()
        lines = [
            _line(document, key, getattr(gate, key), paths, origin if key in published else DEFAULT)
            for key in keys
        ]
        sections.append(Section(kind, lines))
    return list(sections)


def _line(
    document: Document,
    key: str,
    value: Any,
    sections: Iterable[Path],
    otherwise: str = DEFAULT,
) -> Line:
    """A key with its value; `sections` are those that may give it, the most specific first.

    `otherwise` says where the value comes from if no line gives it.
    """
    path = next((p for section in sections for p in _giving(document, section, key)), None)
    origin = otherwise if path is None else _place(document, path)
    return Line(key, value, origin)


def _place(document: Document, path: Path) -> str:
    """The line of a value; with its file if the spec only extends that."""
    span = document.span(path)
    if span.file == document.file:
        return f"line {span.start.line}"
    return f"{printable(span.file)}:{span.start.line}"


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
