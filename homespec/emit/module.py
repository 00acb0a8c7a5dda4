"""Stage 7, emit: writes the Python file of a graph.

Templates hold layout, Python makes decisions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any

import jinja2

from homespec.emit.copies import Copies
from homespec.emit.features import Inputs
from homespec.emit.folding import folded_constants, logical_blocks, split_blocks
from homespec.emit.joined import join_projections
from homespec.emit.layout import harmless
from homespec.emit.legend import Shown, legend
from homespec.emit.losses import loss_blocks, order_constant, task_constants
from homespec.emit.naming import once
from homespec.emit.plain import plain_trunk
from homespec.emit.trunk import batched_trunk, first_member
from homespec.graph import Graph
from homespec.graph.feature_nodes import Feature, Input, Reading
from homespec.graph.nodes import Batch, ExpertSet, Node, Objective, Tower
from homespec.graph.sequences import Sequence

APART = (Feature, Sequence, Input, Reading, Objective)
"""Nodes outside of the trunk."""
SKELETON = ("Features", "Trunk", "Model")
"""The classes of every file that are not blocks."""
MODULES = ("stacks", "norms", "gates", "kernels", "plain", "plain_gates", "products")
"""The modules of the trunk's blocks, in reading order."""
FOR_INFERENCE = ("stacks.linear_init", "kernels.run_gates", "kernels.register_gates")
"""The blocks that have another variant in files for inference."""
IMPORTS = ("import torch", "import torch.nn.functional as F", "from torch import nn")


def emit(graph: Graph, header: str) -> str:
    """The generated file of a graph: plain as lowered, or optimised by the passes.

    `header` is the beginning of its docstring.
    """
    plain = not any(isinstance(node, Batch) for node in graph)
    graph = graph if plain else join_projections(graph)
    inference = graph.inference
    where = _places(graph)
    features = Inputs(graph, plain, inference).context()
    nodes = [node for node in graph if not isinstance(first_member(node), APART)]
    trunk = plain_trunk(nodes, graph) if plain else batched_trunk(nodes, graph, where)
    turns = not plain and not inference
    losses, forms = loss_blocks(graph)
    checks = "" if losses else "__user" if features["user"] else "__features"
    fitted, scaled, words = (features[key] for key in ("fitted", "scaled", "words"))
    copies = Copies(*sorted(trunk["uses"]))
    copies.choose([*forms, *features["forms"], *_variants(graph, features, plain)])
    context = {
        **features,
        "kinds": copies.copy(*features["kinds"]),
        "blocks": copies.copy(
            *sorted(sorted(trunk["uses"]), key=_position),
            *["transpose.Transpose"] * turns,
            *["order.Ordered"] * bool(trunk["order"]),
        ),
        "inputs": copies.copy(*features["blocks"]),
        "checks": copies.copy("checks.check_shapes" + checks),
        "losses": copies.copy(*losses),
        "logical": copies.copy(
            "logical.logical_state",
            "logical.load_logical_state",
            *["logical.set_boundaries"] * fitted,
            *["logical.set_scaling"] * scaled,
            *["logical.set_vocabularies"] * words,
        ),
        "header": header,
        "plain": plain,
        "inference": inference,
        "constants": "\n".join([*task_constants(graph), *order_constant(trunk["order"])]),
        "folded": "\n".join(folded_constants(graph)),
        **trunk,
        "normalised": "" if inference else _normalised(graph),
        "cast": any(not feature.rows for feature in graph.of(Feature)),
    }
    once("in the file", [*copies.names, *(layer["name"] for layer in trunk["layers"]), *SKELETON])
    context["imports"] = _imports([*IMPORTS, *copies.imports])
    axes = (
        copies.axes | {"V", "T"} | ({"N"} if any(f.numbers for f in graph.of(Feature)) else set())
    )
    axes |= {"U"} if features["user_width"] else set()
    shown = Shown(axes, copies.suffixes, trunk["paths"], trunk["ranges"])
    context["legend"] = legend(graph, plain, shown)
    rendered = _template("module.py.jinja").render(context)
    return re.sub(r"\n{4,}", "\n\n\n", rendered).rstrip("\n") + "\n"


def _variants(graph: Graph, features: dict[str, Any], plain: bool) -> list[str]:
    """The blocks in the variants that this file needs."""
    fitted, scaled, words = (features[key] for key in ("fitted", "scaled", "words"))
    partial = graph.inference or graph.partial
    return [
        *logical_blocks(graph, partial, fitted, scaled, words),
        *(split_blocks(fitted or scaled or words) if features["user_width"] else ()),
        *(f"{name}__inference" for name in FOR_INFERENCE if graph.inference),
        *["logical.logical_views__plain"] * plain,
    ]


def _normalised(graph: Graph) -> str:
    """The parts that batch statistics normalise; "" if there are none."""
    if any(s.norm == "batch" or s.activation == "dice" for s in graph.of(ExpertSet)):
        return "experts"
    return "towers" if any(tower.norm == "batch" for tower in graph.of(Tower)) else ""


def _position(address: str) -> int:
    """The position of a block's module in a file."""
    return MODULES.index(address.partition(".")[0])


def _imports(statements: Iterable[str]) -> str:
    """Imports of the standard library, of torch, and those that may fail."""
    groups: list[list[str]] = [[], [], []]
    whole = _from_one_module(sorted(set(statements)))
    for statement in sorted(whole, key=lambda text: (text.startswith("from"), text)):
        is_torch = statement.split()[1].partition(".")[0] == "torch"
        groups[2 if statement.startswith("try") else int(is_torch)].append(statement)
    return "\n\n".join("\n".join(group) for group in groups if group)


def _from_one_module(statements: Iterable[str]) -> Iterator[str]:
    """`from a import b` and `from a import c` become one statement."""
    names: dict[str, list[str]] = {}
    for statement in statements:
        head, is_from, name = statement.partition(" import ")
        if is_from and head.startswith("from"):
            names.setdefault(head, []).append(name)
        else:
            yield statement
    yield from (f"{head} import {', '.join(found)}" for head, found in names.items())


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


def _places(graph: Graph) -> dict[str, str]:
    """For each node the lines of the spec or its bases that define it; none for defaults."""
    places = {}
    for node in [*graph, *graph.of(Feature)]:
        members: Iterable[Node] = node.members if isinstance(node, Batch) else (node,)
        lines: dict[str, set[int]] = {}
        for span in (m.span for m in members if m.span != graph.span):
            lines.setdefault(span.file, set()).add(span.start.line)
        places[node.name] = ", ".join(_lines(*item) for item in lines.items()) or "default"
    return places


def _lines(file: str, lines: set[int]) -> str:
    shown = ", ".join(map(str, sorted(lines)[:6])) + (", …" if len(lines) > 6 else "")
    return f"{harmless(file.rpartition('/')[2])}:{shown}"
