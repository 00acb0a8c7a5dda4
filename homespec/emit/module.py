"""Stage 6, emit: Graph -> the text of one Python file. Templates hold layout, Python decisions."""

from __future__ import annotations

import functools
import itertools
import re
import textwrap
from collections.abc import Iterable
from typing import Any

import jinja2

from homespec.emit.copies import Copies
from homespec.emit.features import emit_features
from homespec.emit.folding import folding
from homespec.emit.header import harmless, header
from homespec.emit.layout import (
    literal,
    mapping,
    packed,
    sequence,
    strings,
)
from homespec.emit.plain import plain_trunk
from homespec.emit.trunk import batched_trunk, first_member
from homespec.emit.unique import check_unique
from homespec.graph import Graph
from homespec.graph.nodes import (
    Batch,
    ExpertSet,
    Feature,
    Input,
    Node,
    Objective,
    Tower,
)
from homespec.graph.sequences import Sequence
from homespec.resolve.tree import TreeNode
from homespec.schema.models import Spec
from homespec.schema.tensors import input_tensors
from homespec.source import Document
from homespec.variant import DEFAULT, Variant


def emit(
    graph: Graph,
    spec: Spec,
    root: TreeNode,
    document: Document,
    file: str,
    variant: Variant = DEFAULT,
) -> str:
    """The generated file of a graph: plain as lowered, or optimised by the passes.

    `file` is the path of the spec as the header names it, `document` its contents; `variant` says
    what the passes have made of the graph.
    """
    plain = not variant.optimize
    where = _places(graph, document)
    features = emit_features(graph, where, variant)
    tasks = list(variant.tasks or spec.tasks)
    nodes = _in_the_trunk(graph)
    trunk = plain_trunk(nodes) if plain else batched_trunk(nodes, graph, tasks, where)
    copies = Copies()
    copied = copies.copy(
        *sorted(name for name in trunk["uses"] if "." in name and name[0].islower())
    )
    context = {
        "copied": copied,
        "imports": "\n".join(dict.fromkeys([*IMPORTS, *copies.imports])),
        "title": _title(spec),
        "header": header(spec, document, file, root, graph, variant),
        "plain": plain,
        "inference": variant.inference,
        "turns": not plain and not variant.inference and any(f.rows for f in graph.of(Feature)),
        **_constants(graph, spec, tasks, variant),
        **folding(graph, variant),
        "features": _template("features.py.jinja")
        .render(inference=variant.inference, **features)
        .strip("\n"),
        "width": features["width"],
        "tables": features["tables"],
        "fitted": features["fitted"],
        **trunk,
        "normalised": not variant.inference
        and any(s.norm == "batch" or s.activation == "dice" for s in graph.of(ExpertSet)),
        "cast": any(not feature.rows for feature in graph.of(Feature)),
        "logical": _logical(variant, bool(features["fitted"])),
    }
    rendered = _template("module.py.jinja").render(context)
    text = re.sub(r"\n{4,}", "\n\n\n", rendered).rstrip("\n") + "\n"
    check_unique(text)
    return text


IMPORTS = ("import torch", "import torch.nn.functional as F", "from torch import nn")
"""What each file imports."""

APART = (Feature, Sequence, Input, Objective)
"""Nodes that are no part of the trunk."""

LOSSES = {
    "binary": "F.binary_cross_entropy_with_logits",
    "squared": "F.mse_loss",
    "absolute": "F.l1_loss",
    "huber": "F.huber_loss",
}


@functools.cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("homespec.emit"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # Python, not HTML; names are checked identifiers
    )
    return environment.get_template(name)


def _title(spec: Spec) -> str:
    """The first paragraph of the docstring, made harmless: it is the only free text in the file."""
    plain = " ".join(spec.description.split()).replace("\\", "/").replace('"', "'")
    plain = "".join(c for c in plain if c.isprintable())
    title = f"{spec.name}: {plain}" if plain else f"{spec.name}."
    return "\n".join(textwrap.wrap(title, 96))


def _places(graph: Graph, document: Document) -> dict[str, str]:
    """The lines of the spec, and of what it extends, that each node comes from; defaults: none."""
    places = {}
    for node in [*graph, *graph.of(Feature)]:
        members: Iterable[Node] = node.members if isinstance(node, Batch) else (node,)
        spans = {m.span for m in members if m.span != graph.span}
        files = [file for file in document.texts if any(s.file == file for s in spans)]
        shown = (_lines(f, {s.start.line for s in spans if s.file == f}) for f in files)
        places[node.name] = ", ".join(shown) or "default"
    return places


def _lines(file: str, lines: set[int]) -> str:
    shown = ", ".join(map(str, sorted(lines)[:6])) + (", …" if len(lines) > 6 else "")
    return f"{harmless(file.rpartition('/')[2])}:{shown}"


def _constants(graph: Graph, spec: Spec, tasks: list[str], variant: Variant) -> dict[str, Any]:
    dense = [(n, str(f.dense)) for n, f in spec.features.items() if f.kind == "dense"]
    objectives = {o.task: o for o in graph.of(Objective)}
    scales = [(t, literal(spec.tasks[t].scale)) for t in tasks if spec.tasks[t].scale != 1.0]
    rates = [(t.task, literal(t.rate)) for t in graph.of(Tower) if t.rate is not None]
    return {
        **_input_names(spec, variant),
        "dense": packed("DENSE", mapping(dense)) if dense else "",
        "tasks": packed("TASKS", strings(tasks)),
        "rates": packed("RATES", mapping(rates)) if rates else "",
        "scales": packed("SCALES", mapping(scales)) if scales else "",
        **_label_graph([o for t in tasks if (o := objectives.get(t))], spec),
    }


def _input_names(spec: Spec, variant: Variant) -> dict[str, str]:
    """The constants that name what the model takes, and of events how many there are."""
    tensors = input_tensors(spec)
    events = [(tensor.name, str(tensor.length)) for tensor in tensors if tensor.length]
    numbers = [tensor.name for tensor in tensors if tensor.kind == "number"]
    ids = [tensor.name for tensor in tensors if tensor.kind == "id"]
    parts = packed("PARTS", strings(list(spec.features)))
    return {
        "names": packed("FEATURES", strings([tensor.name for tensor in tensors])),
        "events": packed("EVENTS", mapping(events)) if events else "",
        "parts": parts if events else "",
        "bucketized": packed("BUCKETIZED", strings(numbers)) if numbers else "",
        "ids": packed("IDS", strings(ids)) if ids and variant.inference else "",
    }


def _label_graph(objectives: list[Objective], spec: Spec) -> dict[str, Any]:
    """Labels, sample spaces, and which losses there are but the binary one; empty without any.

    A task's sample space needs the label of its parent, even of one that was pruned away.
    """
    where = [(o.task, literal(o.where)) for o in objectives if o.where]
    labels = [(o.task, o.label) for o in objectives]
    known = {o.task for o in objectives}
    parents = dict.fromkeys(o.where for o in objectives if o.where and o.where not in known)
    labels += [(parent, spec.tasks[parent].label) for parent in parents]
    weights = [(o.task, literal(o.weight)) for o in objectives]
    kinds = {o.loss for o in objectives}
    by_loss = {loss: [o.task for o in objectives if o.loss == loss] for loss in LOSSES}
    return {
        "trained": bool(objectives),
        "binary": "binary" in kinds,
        "labels": packed("LABELS", mapping([(task, literal(label)) for task, label in labels])),
        "weights": packed("WEIGHTS", mapping(weights)),
        "runs": _weight_runs([o.weight for o in objectives]),
        "where": packed("WHERE", mapping(where)) if where else "",
        "losses": [
            (packed(loss.upper(), strings(names)), loss.upper(), LOSSES[loss])
            for loss, names in by_loss.items()
            if names
        ]
        if kinds != {"binary"}
        else [],
    }


def _weight_runs(weights: list[float]) -> str:
    """The constant with the lengths and weights of runs of tasks of one weight; none for all 1."""
    if all(weight == 1 for weight in weights):
        return ""
    runs = [(len(list(run)), weight) for weight, run in itertools.groupby(weights)]
    return packed("RUNS", sequence([sequence([str(n), literal(w)]) for n, w in runs], "[]"))


def _in_the_trunk(graph: Graph) -> list[Node]:
    """The trunk's nodes in dependency order; features and losses have places of their own."""
    return [node for node in graph if not isinstance(first_member(node), APART)]


def _logical(variant: Variant, fitted: bool) -> str:
    name = "logical.py.jinja" if variant.optimize else "plain_logical.py.jinja"
    return _template(name).render(serving=variant.serving, fitted=fitted).strip("\n")
