"""Stage 6, emit: the nodes of an unoptimised graph, a line of code for each: the readable twin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from homespec.emit.block import Block, Variable
from homespec.emit.layout import INDENT, Expr, Group, assign, call, flat, literal, mapping, sequence
from homespec.emit.stacks import ACTIVATIONS
from homespec.emit.trunk import product
from homespec.emit.unique import once
from homespec.graph.nodes import (
    INPUT,
    ExpertSet,
    FeatureGate,
    Gate,
    Mix,
    Node,
    Placed,
    Port,
    Product,
    SelfGate,
    Tower,
)

Variables = dict[str, Variable]
LETTERS = {"feature_gate": "x", "experts": "e", "gate": "w", "self_gate": "s", "state": "z"}


def emit_node(node: Node, variables: Variables) -> Block:
    """The block of one node; its variable joins `variables`."""
    block = EMITTERS[type(node)](node, variables)
    variables[node.name] = Variable(_variable(node))
    return block


def _variable(node: Node) -> str:
    if isinstance(node, Placed):
        return f"{LETTERS[node.kind]}_{node.layer}_{node.identifier}"
    return f"y_{node.name.removeprefix('towers.')}"


def widths_of(widths: tuple[int, ...]) -> Group:
    """A tuple of widths as a literal."""
    return sequence([str(width) for width in widths])


def module_path(node: Node) -> str:
    """Where the module stands: `experts.meta.watch` -> `self.experts["meta"]["watch"]`."""
    head, *keys = node.name.split(".")
    return f"self.{head}" + "".join(f"[{literal(key)}]" for key in keys)


def _read(ports: tuple[Port, ...], variables: Variables) -> Expr:
    names: list[Expr] = [variables[port.node].name for port in ports]
    return names[0] if len(names) == 1 else call("torch.cat", sequence(names, "[]"), dim="-1")


def _feature_gate(node: FeatureGate, variables: Variables) -> Block:
    options: dict[str, Expr] = {"mix_logits": "True"} if node.mix == "before_sigmoid" else {}
    make = call("FeatureGate", str(node.width), str(node.loras), str(node.rank), **options)
    use = call(module_path(node), _read(node.reads, variables))
    return Block(node, [(node.name, make)], [(_variable(node), use)], uses={"FeatureGate"})


def _mlp(widths: tuple[int, ...], activation: str) -> Expr:
    options: dict[str, Expr] = {}
    if len(widths) > 2 and activation != "relu":
        options["activation"] = ACTIVATIONS[activation]
    return call("MLP", widths_of(widths), **options)


def _experts(node: ExpertSet, variables: Variables) -> Block:
    options: dict[str, Expr] = {}
    if node.norm != "batch":
        options["norm"] = literal(node.norm.replace("folded", "none"))
    if node.activation != "swish":
        options["activation"] = literal(node.activation.removeprefix("folded_"))
    if len(node.widths) > 2 and node.hidden_activation != "relu":
        options["hidden"] = ACTIVATIONS[node.hidden_activation]
    if (node.eps, node.momentum) != (1e-5, 0.1):
        options |= {"eps": literal(node.eps), "momentum": literal(node.momentum)}
    many = call("experts", str(node.count), widths_of(node.widths), **options)
    if len(node.reads) > 1:
        own = sequence([variables[port.node].name for port in node.reads], "[]")
        use = call("each_its_own", module_path(node), own)
    else:
        use = call("each", module_path(node), _read(node.reads, variables))
    uses = {"dice": {"Dice"}, "folded_dice": {"FoldedDice"}}.get(node.activation, set())
    if node.norm == "batch" or node.activation == "dice":
        uses.add("BatchNorm")
    if len(node.reads) > 1:
        uses.add("each_its_own")
    return Block(node, [(node.name, many)], [(_variable(node), use)], uses=uses)


def _gate(node: Gate, variables: Variables) -> Block:
    if node.choices == 1 and not isinstance(node, SelfGate):
        return Block(node, forward=[(_variable(node), "x_BV.new_ones(x_BV.shape[0], 1)")])
    weigh = ".sigmoid()" if node.choices == 1 else ".softmax(-1)"
    use = Group(module_path(node), (_read(node.reads, variables),), tail=weigh)
    make = _mlp(node.widths, node.hidden_activation)
    return Block(node, [(node.name, make)], [(_variable(node), use)])


def _mix(node: Mix, variables: Variables) -> Block:
    sets = [variables[port.node].name for port in node.sets]
    experts: Expr = sequence([f"*{name}" for name in sets], "[]") if len(sets) > 1 else sets[0]
    target = _variable(node)
    forward: list[tuple[str, Expr]] = [
        (target, call("mix", variables[node.gate.node].name, experts))
    ]
    for gate, position in node.residuals:
        own = call(f"{target} + mix", variables[gate.node].name, sets[position])
        forward.append((target, own))
    return Block(node, forward=forward)


def _tower(node: Tower, variables: Variables) -> Block:
    make = _mlp(node.widths, node.activation)
    if node.rate is not None:
        make = f"{flat(make)}.start_at(RATES[{literal(node.task)}])"
    use = f"{module_path(node)}({variables[node.reads[0].node].name}).squeeze(-1)"
    return Block(node, [(node.name, make)], [(f"logits[{literal(node.task)}]", use)])


def plain_trunk(nodes: Sequence[Node]) -> dict[str, Any]:
    """What the template needs of the trunk of a plain file."""
    once("in forward", (_variable(node) for node in nodes if not isinstance(node, Product)))
    variables: Variables = {INPUT: Variable("x_BV")}
    blocks = [
        product(node) if isinstance(node, Product) else emit_node(node, variables) for node in nodes
    ]
    return {
        "trunk_init": _init(blocks),
        "trunk_forward": "\n".join(_forward(blocks)),
        "by_name": True,
        "reorder": False,
        "first_weight": next(
            f'towers["{n.task}"].linears[0].weight' for n in nodes if isinstance(n, Tower)
        ),
        "layers": [],
        "uses": {name for block in blocks for name in block.uses},
    }


def _init(blocks: list[Block]) -> str:
    """Nested ModuleDicts, so that the names of the weights are the logical names."""
    tree: dict[str, Any] = {}
    for block in blocks:
        for name, make in block.init:
            *path, key = name.split(".")
            place = tree
            for step in path:
                place = place.setdefault(step, {})
            if key in place:
                raise AssertionError(f"{name} would be set twice")
            place[key] = make
    return "\n".join(assign(f"self.{head}", _module_dict(m), 2) for head, m in tree.items())


def _module_dict(modules: dict[str, Any] | Expr) -> Expr:
    if not isinstance(modules, dict):
        return modules
    return call("nn.ModuleDict", mapping([(k, _module_dict(m)) for k, m in modules.items()]))


def _forward(blocks: list[Block]) -> Iterator[str]:
    layer = ""
    for block in blocks:
        if _layer_of(block.node) != layer:
            if layer:
                yield ""
            layer = _layer_of(block.node)
            yield f"{INDENT * 2}# {layer}"
        yield from (assign(target, expr, 2) for target, expr in block.forward)
    yield f"{INDENT * 2}return torch.stack([logits[t] for t in TASKS])"


def _layer_of(node: Node) -> str:
    if isinstance(node, Placed):
        return f"layer {node.layer}"
    return "products" if isinstance(node, Product) else "towers"


EMITTERS: dict[type[Node], Callable[..., Block]] = {
    FeatureGate: _feature_gate,
    ExpertSet: _experts,
    Gate: _gate,
    SelfGate: _gate,
    Mix: _mix,
    Tower: _tower,
}
