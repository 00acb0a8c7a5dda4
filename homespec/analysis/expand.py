"""The explicit form of a spec, and the line that gives each of its values.

The family is written as layers, and every default is given. The result is itself a valid spec with
the same graph. Experts are given for each node and gates for each layer, so nothing is inherited.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from homespec.analysis.yaml_writer import Entry, Line, Section, as_data, write
from homespec.diagnostics.render.terminal import printable
from homespec.graph.sequences import Sequence as SequenceNode
from homespec.lower import Lowered
from homespec.resolve.families import family_of
from homespec.resolve.layers import Layer, Path, SetPlan
from homespec.schema.embedded import OWNERS
from homespec.schema.identifiers import ROOT
from homespec.schema.input_tensors import event_column
from homespec.schema.models import Encoder, Feature, Sequence, Spec, Style, Task, overlay
from homespec.schema.models import Tower as TowerConfig
from homespec.source import Document

DEFAULT = "default"
MODELINE = "# yaml-language-server:"
SHORT = {"count": (int,), "enabled": (bool, dict)}
"""Keys that a section may give in a short form: `shared: 4`, `self: true`, `feature: {…}`."""


def expanded(lowered: Lowered) -> str:
    """The text of the expanded spec, with comments such as `line 12` or `default`."""
    document = lowered.document
    first = document.text.partition("\n")[0].rstrip("\r")
    head = [first] if first.startswith(MODELINE) else []
    head.append(f"# Every value of {printable(document.file)} and the line that gives it,")
    head.append("# printed by: homespec show --expanded")
    return "\n".join([*head, *write(_spec(lowered))]) + "\n"


def explicit(lowered: Lowered) -> Spec:
    """The spec with every default written out and its family written as layers."""
    return Spec.model_validate(as_data(_spec(lowered)))


def _spec(lowered: Lowered) -> Iterator[Entry]:
    spec = lowered.spec
    head = {key: getattr(spec, key) for key in ("homespec", "name", "description", "init")}
    yield from _lines(lowered, head, [()])
    yield Section("features", [_feature(lowered, n, f) for n, f in spec.features.items()])
    members = {name: group.members for name, group in spec.groups.items()}
    yield Section("groups", _lines(lowered, members, [("groups",)]))
    yield Section("tasks", [_task(lowered, name, task) for name, task in spec.tasks.items()])
    layers = [_layer(lowered, i, layer) for i, layer in enumerate(lowered.layers)]
    yield Section("layers", layers, is_list=True)
    yield Section("expect", list(_expect(lowered)))


def _expect(lowered: Lowered) -> Iterator[Entry]:
    """The promises that the spec makes. Promises have no defaults."""
    expect, path = lowered.spec.expect, ("expect",)
    given = {"isolated": expect.isolated, "except_through": expect.except_through}
    yield from _lines(lowered, {k: v for k, v in given.items() if v}, [path])
    limits = {key: limit for key, limit in expect.budget if limit}
    for key, values in (("reads", expect.reads), ("budget", limits)):
        if values:
            yield Section(key, _lines(lowered, values, [(*path, key)]))


def _feature(lowered: Lowered, name: str, feature: Feature) -> Section:
    kind = feature.kind
    at = _at(lowered, name, feature)
    if kind == "sequence":
        dropout = _dropout_of(lowered, name)
        return Section(name, [_sequence(lowered, name, feature.sequence), *at, *dropout])
    value = getattr(feature, kind)
    values: dict[str, Any] = {kind: value}
    if kind == "id" or feature.quantiles:
        values = {kind: value.model_dump(include=value.model_fields_set)}
    if kind in ("number", "cross"):
        values = {kind: value.model_dump()}
    if kind == "dense":
        values |= {"project": feature.project} if feature.project else {}
        values["missing"] = feature.missing
    values |= {"dim": feature.dim} if kind in (*OWNERS, "cross") else {}
    if feature.is_list:
        options = feature.list.model_dump()
        values["list"] = {key: value for key, value in options.items() if value != ""}
    values |= {"from": feature.from_} if feature.from_ else {}
    values |= {"frozen": True} if feature.frozen else {}
    values |= {"column": feature.column} if feature.column else {}
    lines = _lines(lowered, values, [("features", name)])
    return Section(name, [*lines, *at, *_dropout_of(lowered, name)])


def _at(lowered: Lowered, name: str, feature: Feature) -> list[Line]:
    """The nodes that a feature belongs to, unless it is the root alone."""
    if feature.places == (ROOT,):
        return []
    return [Line("at", feature.at, _place(lowered.document, ("features", name, "at")))]


def _dropout_of(lowered: Lowered, name: str) -> list[Line]:
    """The dropout of a feature, if it has any: its own or that of the spec."""
    share = lowered.spec.dropout_of(name)
    own: Path = ("features", name, "dropout")
    path: Path = own if lowered.has(own) else ("feature_dropout",)
    return [Line("dropout", share, _place(lowered.document, path))] if share else []


def _sequence(lowered: Lowered, name: str, sequence: Sequence) -> Section:
    """A sequence with all options of its encoder and all columns."""
    path: Path = ("features", name, "sequence")
    own = {field: value.model_dump(exclude_unset=True) for field, value in sequence.with_.items()}
    columns = {field: event_column(name, sequence, field) for field in sequence.fields}
    in_text = {"separator": sequence.separator, "padding": sequence.padding}
    entries = [
        *_lines(lowered, {"of": sequence.of}, [path]),
        Section("with", _lines(lowered, own, [(*path, "with")])),
        *_lines(lowered, {"max_len": sequence.max_len}, [path]),
        *_lines(lowered, {k: v for k, v in in_text.items() if v}, [path]),
        _encoder(lowered, name, sequence.encoder, path),
        Section("columns", _lines(lowered, columns, [(*path, "columns")])),
    ]
    return Section("sequence", entries)


def _encoder(lowered: Lowered, name: str, encoder: Encoder, path: Path) -> Entry:
    kind = encoder.kind
    if kind == "mean":
        return _lines(lowered, {"encoder": kind}, [path])[0]
    node = lowered.graph[f"features.{name}"]
    assert isinstance(node, SequenceNode)
    options = getattr(encoder, kind)
    values = {key: getattr(options, key) for key in type(options).model_fields}
    if "width" in values:  # not given: the width of an event, or of the candidate
        values["width"] = getattr(node.encoder, "width", 0)
    if not values.get("by", True):
        del values["by"]
    return Section("encoder", [Section(kind, _lines(lowered, values, [(*path, "encoder", kind)]))])


def _task(lowered: Lowered, name: str, task: Task) -> Section:
    path: Path = ("tasks", name)
    values = {key: getattr(task, key) for key in _keys(task)}
    if task.within is not None:
        values["within"] = task.within.model_dump()
    lines = _lines(lowered, values, [path])
    if task.product:
        return Section(name, lines)
    tower = dict(overlay(lowered.spec.towers, task.tower, to=TowerConfig))
    parts = _lines(lowered, tower, [(*path, "tower"), ("towers",)])
    return Section(name, [*lines, Section("tower", parts)])


def _keys(task: Task) -> list[str]:
    """The keys that apply to a task of its kind."""
    keys = ["label", "weight"] if task.product else ["kind", "label", "weight"]
    keys += ["unknown"] if task.unknown is not None else []
    keys += ["sample_weight"] if task.sample_weight else []
    keys += ["where", *["outside_weight"] * bool(task.outside_weight)] if task.where else []
    if task.product:
        return [*keys, *_shape(task), "product"]
    if task.kind == "regression":
        return [*keys, "loss", "scale"]
    return [*keys, *_shape(task), "rate"]


def _shape(task: Task) -> list[str]:
    """The keys that change the shape of a cross-entropy, or add a term to it."""
    given = {
        "pos_weight": task.pos_weight != 1, "focal": task.focal != 0, "within": task.within
    }  # fmt: skip
    return [key for key, is_given in given.items() if is_given]


def _layer(lowered: Lowered, index: int, layer: Layer) -> Section:
    """A layer: the nodes that own experts, the nodes that have a state, and its gates."""
    head = {"name": layer.name, "outputs": [node.name for node in layer.outputs]}
    return Section(
        layer.name,
        [
            *_lines(lowered, head, [("layers", index)], {"outputs"}),
            Section("experts", [_set(lowered, plan) for plan in layer.sets.values()]),
            Section("gates", [_gate(lowered, layer, k) for k in ("mixture", "feature", "self")]),
        ],
    )


def _set(lowered: Lowered, plan: SetPlan) -> Section:
    """The experts of a node."""
    family = family_of(lowered.spec)
    published = family.experts.model_fields_set if family else set()
    values = {k: getattr(plan.experts, k) for k in ("count", "inputs", *Style.model_fields)}
    each = {"inputs"} if plan.experts.inputs == "each" else set()
    return Section(plan.node.name, _lines(lowered, values, plan.sections, published | each))


def _gate(lowered: Lowered, layer: Layer, kind: str) -> Section:
    """The gates of a kind; if they are off, only `false`."""
    gate, family = getattr(layer.gates, kind), family_of(lowered.spec)
    published = getattr(family.gates, kind).model_fields_set if family else set()
    values = dict(gate) if getattr(gate, "enabled", True) else {"enabled": False}
    paths = [(*path, kind) for path in layer.gate_sections]
    return Section(kind, _lines(lowered, values, paths, published))


def _lines(
    lowered: Lowered,
    values: Mapping[str, Any],
    sections: Iterable[Path],
    published: Container[str] = (),
) -> list[Line]:
    """Keys with their values. `sections` are those that may give them, the most specific first.

    A value that no line gives is a default, or comes from the family if its key is `published`.
    """
    family = f"family {lowered.spec.family}" if family_of(lowered.spec) else DEFAULT
    lines = []
    for key, value in values.items():
        paths = (path for section in sections for path in _giving(lowered.document, section, key))
        path = next(paths, None)
        otherwise = family if key in published else DEFAULT
        origin = otherwise if path is None else _place(lowered.document, path)
        lines.append(Line(key, value, origin))
    return lines


def _place(document: Document, path: Path) -> str:
    """The line of a value, with its file if the spec extends that file."""
    span = document.span(path)
    if span.file == document.file:
        return f"line {span.start.line}"
    return f"{printable(span.file)}:{span.start.line}"


def _giving(document: Document, section: Path, key: str) -> Iterator[Path]:
    """The path at which a section gives a key, in full or in its short form, if it does."""
    if document.has((*section, key)):
        yield (*section, key)
    elif key in SHORT and document.has(section):
        value: Any = document.data
        for step in section:
            value = value[step]
        if isinstance(value, SHORT[key]):
            yield section
