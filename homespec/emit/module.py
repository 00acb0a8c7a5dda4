"""Stage 6, emit: Graph -> the text of one Python file. Templates hold layout, Python decisions."""

from __future__ import annotations

import functools
import itertools
import re
import textwrap
from collections.abc import Iterable
from typing import Any

import jinja2

from homespec.emit.batched import emit_batch, emit_single_choice
from homespec.emit.block import Block, Logical, Scope, Variable
from homespec.emit.features import emit_features
from homespec.emit.folding import folding
from homespec.emit.header import harmless, header
from homespec.emit.layout import (
    LINE,
    Expr,
    Group,
    call,
    lay,
    literal,
    mapping,
    packed,
    sequence,
    strings,
)
from homespec.emit.plain import emit_node
from homespec.emit.trunk import first_member, is_tower, trunk
from homespec.emit.unique import check_unique
from homespec.graph import Graph
from homespec.lower.tree import TreeNode
from homespec.nodes import (
    INPUT,
    Batch,
    ExpertSet,
    Feature,
    Gate,
    Input,
    Node,
    Objective,
    Product,
    Tower,
)
from homespec.schema.models import Spec
from homespec.schema.tensors import input_tensors
from homespec.sequences import Sequence
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
    features, logical = emit_features(graph, where, variant)
    blocks = _blocks(graph, plain)
    tasks = list(variant.tasks or spec.tasks)
    logical += [row for block in blocks for row in block.logical]
    context = {
        "title": _title(spec),
        "header": header(spec, document, file, root, graph, variant),
        "plain": plain,
        "inference": variant.inference,
        "turns": not plain and not variant.inference and any(f.rows for f in graph.of(Feature)),
        **_constants(graph, spec, tasks, variant),
        **folding(graph, variant),
        "uses": {name for block in blocks for name in block.uses},
        "features": _template("features.py.jinja")
        .render(inference=variant.inference, **features)
        .strip("\n"),
        "width": features["width"],
        "fitted": features["fitted"],
        **trunk(blocks, tasks, where, plain),
        "normalised": not variant.inference
        and any(s.norm == "batch" or s.activation == "dice" for s in graph.of(ExpertSet)),
        "cast": _cast(graph, plain),
        "lists": _lists(logical),
        "logical": _logical(logical, variant, bool(features["fitted"])),
    }
    rendered = _template("module.py.jinja").render(context)
    text = re.sub(r"\n{4,}", "\n\n\n", rendered).rstrip("\n") + "\n"
    check_unique(text, blocks, logical)
    return text


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


def _blocks(graph: Graph, plain: bool) -> list[Block]:
    """Blocks in the order of evaluation, layer by layer."""
    scope = Scope()
    scope[INPUT] = Variable("x_BV" if plain else "x_1VB")
    blocks = []
    for node in _by_layer(graph):
        if isinstance(node, Product):
            blocks.append(_product(node))
        elif plain:
            blocks.append(emit_node(node, scope))
        elif isinstance(node, Batch):
            blocks.append(emit_batch(node, scope))
        elif isinstance(node, Gate):
            blocks.append(emit_single_choice(node, scope))
    return blocks


def _product(node: Product) -> Block:
    """`logits["ctcvr"]` from the logits of its factors."""
    factors = [f"logits[{literal(factor)}]" for factor in node.factors]
    target = f"logits[{literal(node.task)}]"
    return Block(node, forward=[(target, call("product_logit", *factors))], uses={"product_logit"})


def _by_layer(graph: Graph) -> list[Node]:
    """The trunk's nodes in dependency order; features and losses have places of their own."""
    return [node for node in graph if not isinstance(first_member(node), APART)]


def _cast(graph: Graph, plain: bool) -> str:
    """A weight of the trunk, whose precision dense features must be brought to."""
    if all(feature.rows for feature in graph.of(Feature)):
        return ""
    if plain:
        return f'towers["{graph.of(Tower)[0].task}"].linears[0].weight'
    towers = next(n.name for n in graph if is_tower(n))
    return f"{towers}.weights[0]"


def _logical(rows: list[Logical], variant: Variant, fitted: bool) -> str:
    serving = variant.serving
    if not variant.optimize:
        template = _template("plain_logical.py.jinja")
        return template.render(serving=serving, fitted=fitted).strip("\n")
    table = Group("", tuple(_logical_row(row) for row in rows))
    text = _exploded("LOGICAL = ", table)
    whole = any(not row.axes and not row.table for row in rows)
    template = _template("logical.py.jinja")
    return template.render(table=text, serving=serving, whole=whole, fitted=fitted).strip("\n")


def _lists(rows: list[Logical]) -> str:
    """The constants that name the members of each batch."""
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        for axis in row.axes:
            if isinstance(axis, tuple) and found.setdefault(_list_name(row), axis) != axis:
                raise AssertionError(f"{_list_name(row)} would name two lists")
    equal: dict[tuple[str, ...], list[str]] = {}
    for name, axis in found.items():
        equal.setdefault(axis, []).append(name)
    return "\n".join(_equal_lists(names, axis) for axis, names in equal.items())


def _equal_lists(names: list[str], axis: tuple[str, ...]) -> str:
    """One assignment to all names, or one after the other where they fill the line."""
    together = " = ".join(names)
    if len(together) < LINE - 10:
        return packed(together, strings(axis))
    others = [f"{name} = {names[0]}" for name in names[1:]]
    return "\n".join([packed(names[0], strings(axis)), *others])


def _list_name(row: Logical) -> str:
    """The name of a batch in capitals, as the constant that lists its members is called."""
    return row.names or row.tensor.split(".")[1].upper()


def _logical_row(row: Logical) -> Expr:
    parts: list[Expr] = [literal(row.tensor), literal(row.pattern)]
    if row.table:
        parts.append(row.table)
    for axis in row.axes:
        parts.append(_list_name(row) if isinstance(axis, tuple) else f"range({axis})")
    if row.rows:
        parts.append(f"slice({row.rows[0]}, {row.rows[1]})")
    return sequence(parts)


def _exploded(prefix: str, group: Group) -> str:
    """A tuple with one entry a line, however short."""
    return "\n".join([f"{prefix}(", *(lay("", a, 1, ",") for a in group.args), ")"])
