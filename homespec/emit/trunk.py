"""Stage 7, emit: the trunk of an optimised file, a class for each layer and one for all of them."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from homespec.emit.batched import emit_batch, emit_single_choice
from homespec.emit.block import Attribute, Block, Value
from homespec.emit.layout import (
    INDENT,
    LINE,
    Expr,
    assign,
    assign_tuple,
    call,
    flat,
    lay,
    literal,
    sequence,
    then,
)
from homespec.emit.naming import Naming, once, places_of
from homespec.emit.readings import emit_readings
from homespec.emit.scope import Scope, Values
from homespec.graph import Graph
from homespec.graph.feature_nodes import VIEWS
from homespec.graph.nodes import Batch, Gate, Node, Placed, Product, Tower

HARD = "\N{NO-BREAK SPACE}"
"""Space that keeps shapes on one line."""
TRUNK = ""
"""The scope outside of layers: v, and the logits of towers."""


@dataclass
class LayerCode:
    """A layer: its blocks, in the order of evaluation."""

    name: str
    scope: Scope
    blocks: list[Block] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)

    @property
    def class_name(self) -> str:
        """The class name, such as `MetaLayer`. Names of layers differ in more than case."""
        return f"{self.name[0].upper()}{self.name[1:]}Layer"


def batched_trunk(nodes: Sequence[Node], graph: Graph, where: dict[str, str]) -> dict[str, Any]:
    """The template's variables for the trunk. `where` are the places of nodes in the spec.

    The logits of batches of towers remain one tensor, which is reordered if necessary. With
    products, they are combined by name.
    """
    naming, values = Naming(graph), Values()
    layers: dict[str, LayerCode] = {}
    end = LayerCode("", Scope(TRUNK, naming, values))
    readings = emit_readings(graph, end.scope)
    for layer, own in _by_layer(nodes).items():
        code = end if layer is None else LayerCode(layer, Scope(layer, naming, values))
        if layer is not None:
            layers[layer] = code
        code.scope.share(node for node in own if isinstance(node, Batch))
        code.blocks += [_block(node, code.scope) for node in own]
        if waiting := code.scope.flush():
            code.blocks[-1].forward += waiting
    _connect([*layers.values(), end])
    return {
        "layers": [_layer_class(code, where) for code in layers.values()],
        **_trunk_class(list(layers.values()), end, list(graph.tasks), where, readings),
        "uses": {
            name for code in (*layers.values(), end) for block in code.blocks for name in block.uses
        }
        | _named(naming.counts),
        "paths": naming.paths,
        "ranges": naming.ranges,
    }


def _named(counts: set[int]) -> set[str]:
    """The variant of the function `named`, by the numbers of names that nodes have in its calls."""
    if counts == {1}:
        return {"stacks.named__single"}
    return {"stacks.named__optional" if 1 in counts else "stacks.named"} if counts else set()


def first_member(node: Node) -> Node:
    """The node itself, or the first member of a batch."""
    return node.members[0] if isinstance(node, Batch) else node


def is_tower(node: Node) -> bool:
    """Whether it is a tower or a batch of towers."""
    return isinstance(first_member(node), Tower)


def _by_layer(nodes: Sequence[Node]) -> dict[str | None, list[Node]]:
    """The nodes of each layer, in dependency order; layers only read earlier ones."""
    found: dict[str | None, list[Node]] = {}
    for node in nodes:
        if not isinstance(node, VIEWS):  # which are written where they are read
            found.setdefault(_layer_of(node), []).append(node)
    return dict(sorted(found.items(), key=lambda item: item[0] is None))


def _layer_of(node: Node) -> str | None:
    first = first_member(node)
    return first.layer if isinstance(first, Placed) else None


def _block(node: Node, scope: Scope) -> Block:
    if isinstance(node, Product):
        return product(node)
    if isinstance(node, Gate):
        return emit_single_choice(node, scope)
    assert isinstance(node, Batch)
    return emit_batch(node, scope)


def product(node: Product) -> Block:
    """The statement that computes `logits["ctcvr"]` from the logits of its factors."""
    factors = [f"logits[{literal(factor)}]" for factor in node.factors]
    target = f"logits[{literal(node.task)}]"
    return Block(
        node, forward=[(target, call("product_logit", *factors))], uses={"products.product_logit"}
    )


def _connect(layers: list[LayerCode]) -> None:
    """The outputs of each layer: the values that other layers or the towers read, in fixed
    order."""
    read = {value for code in layers for value in code.scope.arguments}
    values = layers[0].scope.values
    heads = [head.value for head in values.heads.values()]
    known = list(dict.fromkeys([*values.of_node.values(), *heads]))
    for code in layers:
        code.outputs = [v for v in known if v.scope == code.name and v in read]
        given = code.scope.arguments
        code.scope.arguments = {value: given[value] for value in known if value in given}


# ---------------------------------------------------------------- a layer


def _layer_class(code: LayerCode, where: dict[str, str]) -> dict[str, Any]:
    names = [value.name for value in code.outputs]
    return {
        "name": code.class_name,
        "doc": _doc(code),
        "init": "\n".join([*_tuples(code.scope), _init(code.blocks, where)]),
        "arguments": ", ".join(code.scope.arguments.values()),
        "forward": _forward(code, names),
    }


def _tuples(scope: Scope) -> list[str]:
    """The tuples of nodes that several modules of a layer use."""
    return [assign(name, scope.naming.nodes(places), 2) for places, name in scope.tuples.items()]


def _forward(code: LayerCode, names: list[str]) -> str:
    """The statements, of which the last is `return a, b` or returns the only output directly."""
    statements = [each for block in code.blocks for each in block.forward]
    lines = [assign(target, expr, 2) for target, expr in statements]
    target, expr = statements[-1]
    if names == [target]:
        return "\n".join([*lines[:-1], lay("return ", expr, 2)])
    return "\n".join([*lines, _returned(names)])


def _returned(names: list[str]) -> str:
    line = f"{INDENT * 2}return {', '.join(names)}"
    return line if len(line) <= LINE else lay("return ", sequence(names), 2)


def _doc(code: LayerCode) -> str:
    """The arguments and results of the layer, with shapes."""
    given = _with_shapes([(name, value) for value, name in code.scope.arguments.items()])
    made = _with_shapes([(value.name, value) for value in code.outputs])
    lines = textwrap.wrap(
        f'"""{given} -> {made}.', LINE - 4, break_long_words=False, break_on_hyphens=False
    )
    if len(lines) == 1 and len(lines[0]) <= LINE - 7:
        return f'{lines[0]}"""'.replace(HARD, " ")
    return f"\n{INDENT}".join([*lines, '"""']).replace(HARD, " ")


def _with_shapes(values: list[tuple[str, Value]]) -> str:
    """Values with shapes: `x_shared, x_watch [1, 64, B]`."""
    shapes = {name: v.shape or f"[{v.size}, {v.width or 'C'}, B]" for name, v in values}
    grouped = itertools.groupby(shapes, key=shapes.__getitem__)
    return ", ".join(
        f"{', '.join(names)}{HARD}{shape.replace(' ', HARD)}" for shape, names in grouped
    )


def _init(blocks: list[Block], where: dict[str, str]) -> str:
    lines = []
    for block in blocks:
        place = where[block.node.name]
        for target, expr in block.init:
            text = assign(target, expr, 2)
            first, *rest = text.split("\n")
            noted = f"{first}  # {place}"
            if place == "default" or not isinstance(target, Attribute):
                lines.append(text)
            elif len(noted) <= LINE:
                lines.append("\n".join([noted, *rest]))
            else:
                lines.append(f"{INDENT * 2}# {place}\n{text}")
    return "\n".join(lines)


# ---------------------------------------------------------------- the trunk


def _trunk_class(
    layers: list[LayerCode], end: LayerCode, tasks: list[str], where: dict[str, str],
    readings: list[str],
) -> dict[str, Any]:  # fmt: skip
    towers = [b.node for b in end.blocks if isinstance(b.node, Batch)]
    once("of Trunk", [*(code.name for code in layers), *end.scope.attributes])
    towered = [name for batch in towers for name in places_of(batch.members)]
    by_name = set(towered) != set(tasks)
    order = [] if by_name or towered == tasks else [towered.index(task) for task in tasks]
    init = [assign(f"self.{code.name}", call(code.class_name), 2) for code in layers]
    init.append(_init(end.blocks, where))
    return {
        "trunk_init": "\n".join(filter(None, init)),
        "trunk_forward": "\n".join(
            [*readings, *_calls(layers, end), *_logits(end, by_name, bool(order))]
        ),
        "order": order,
        "by_name": by_name,
        "first_weight": f"{end.scope.naming.module(towers[0])}[0].weight",
    }


def _calls(layers: list[LayerCode], end: LayerCode) -> list[str]:
    """A line for each layer; a name can be reused after the last read of its value."""
    order = [*layers, end]
    last = {value: i for i, code in enumerate(order) for value in code.scope.arguments}
    held: dict[str, Value] = {}
    names: dict[Value, str] = {}
    lines = []
    for i, code in enumerate(layers):
        given = [names.get(value, value.name) for value in code.scope.arguments]
        for value in code.outputs:
            name = value.name
            while name in held and last[held[name]] > i:
                name += "_"
            held[name] = value
            names[value] = name
        made = [names[value] for value in code.outputs]
        lines.append(assign_tuple(made, call(f"self.{code.name}", *given), 2))
    return lines


def _logits(end: LayerCode, by_name: bool, ordered: bool) -> list[str]:
    """The statements from the states of tasks to the logits [T, B]."""
    lines = []
    for block in end.blocks:
        lines += [assign(target, expr, 2) for target, expr in block.forward]
        if by_name and isinstance(block.node, Batch):
            ((name, _),) = block.forward
            nodes = flat(end.scope.naming.nodes(places_of(block.node.members)))
            rows = call("zip", nodes, f"{name}.unbind()", strict="True")
            lines.append(assign("", call("logits.update", rows), 2))
    if by_name:
        return [*lines, f"{INDENT * 2}return torch.stack([logits[t] for t in TASKS])"]
    names = [block.forward[0][0] for block in end.blocks]
    if len(names) == 1 and not ordered:
        return [lay("return ", end.blocks[0].forward[0][1], 2)]
    logits: Expr = names[0] if len(names) == 1 else call("torch.cat", sequence(names, "[]"))
    logits = then(logits, ".index_select(0, self.task_order)") if ordered else logits
    return [*lines, lay("return ", logits, 2)]
