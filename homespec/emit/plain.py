"""Stage 7, emit: the nodes of an unoptimised graph, a line of code for each: the readable twin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from homespec.emit.block import Block, Variable
from homespec.emit.following import (
    FUNCTIONS,
    after_hidden,
    after_last,
    biases,
    by_width,
    is_layered,
    named,
)
from homespec.emit.layout import INDENT, Expr, Group, assign, call, lay, literal, mapping, sequence
from homespec.emit.naming import MODULES, once
from homespec.emit.readings import plain_readings
from homespec.emit.stacks import class_activations, start_of
from homespec.emit.trunk import product
from homespec.graph import Graph
from homespec.graph.feature_nodes import INPUT, VIEWS, Columns, Detached
from homespec.graph.nodes import (
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
WEIGH = {"softmax": ".softmax(-1)", "sigmoid": ".sigmoid()", "none": ""}
"""Functions that turn logits [B, C] into weights."""
LETTERS = {"feature_gate": "x", "experts": "e", "gate": "w", "self_gate": "s", "state": "z"}


class Styles:
    """The variants of a plain file's classes, which depend on the nodes of its graph."""

    def __init__(self, graph: Graph) -> None:
        self.inference = graph.inference
        self.several = len(set(class_activations(graph))) > 1
        """Whether MLPs need classes with different activations."""
        self.norms = {_norm(node) for node in graph.of(ExpertSet) if not _has_modules(node)}
        self.makers: dict[Group, str] = {}
        """The local functions that create experts with given `widths`, by their expression."""

    def mlp(self, node: Gate | Tower) -> tuple[Group, set[str]]:
        """The MLP of a gate or tower."""
        if not is_layered(node):
            name, uses = self._named("MLP", node)
            return _started(call(name, widths_of(node.widths)), node, uses)
        hidden, uses = _hidden(node)
        made = call("LayeredMLP", widths_of(node.widths), hidden)
        form = "" if all(biases(node)) else "__normed"
        return _started(made, node, uses | {f"plain.LayeredMLP{form}"})

    def expert(self, node: ExpertSet) -> tuple[Group, set[str]]:
        """An expert of a set, with given `widths`."""
        if not _has_modules(node):
            modules, uses = named(after_last(node), "widths[-1]")
            norm = modules.pop("norm", "nn.Identity()")
            act = FUNCTIONS.get(node.activation) or next(iter(modules.values()), "nn.Identity()")
            name, more = self._named("DiceExpert" if "dice" in modules else "Expert", node)
            options = [act] if self.norms == {"bare"} else [norm, act]
            return _started(call(name, "widths", *options), node, uses | more)
        hidden, uses = _hidden(node)
        last, more = named(after_last(node), "widths[-1]")
        made = call("LayeredExpert", "widths", hidden, mapping(list(last.items())))
        return _started(made, node, uses | more | {"plain.LayeredExpert"})

    def _named(self, name: str, node: ExpertSet | Gate | Tower) -> tuple[str, set[str]]:
        """The class of an MLP or expert, and the blocks that it uses."""
        following = after_hidden(node)
        swish = following is not None and following.activation == "swish"
        full = f"Swish{name}" if swish and self.several else name
        uses = {f"plain.{full}", *(["plain.MLP__swish"] if swish and not self.several else [])}
        if name.endswith("Expert"):
            form = next(iter(self.norms)) if len(self.norms) == 1 else ""
            uses |= {f"plain.{name}__{form}"} if form else set()
        return full, uses


def _hidden(node: ExpertSet | Gate | Tower) -> tuple[Group, set[str]]:
    """The function that creates the modules after a hidden layer."""
    following = after_hidden(node)
    modules, uses = named(following, "width") if following else ({}, set())
    return by_width(modules), uses


def _has_modules(node: ExpertSet) -> bool:
    """Whether the layers of an expert need modules after them."""
    return is_layered(node) or node.dropout > 0


def _started(made: Group, node: ExpertSet | Gate | Tower, uses: set[str]) -> tuple[Group, set[str]]:
    """An MLP whose first Linears are initialised for the activations after them."""
    tail, forms = start_of(node.starts, node.widths, is_layered(node))
    return replace(made, tail=tail), uses | {f"plain.MLP__{form}" for form in forms}


def _norm(node: ExpertSet) -> str:
    return {"folded": "bare", "none": "bare"}.get(node.norm, node.norm)


def emit_node(node: Node, variables: Variables, styles: Styles) -> Block:
    """The block of one node; adds its variable to `variables`."""
    block = EMITTERS[type(node)](node, variables, styles)
    variables[node.name] = Variable(_variable(node))
    return block


def _variable(node: Node) -> str:
    if isinstance(node, Columns):
        edges = (str(edge) for edges in node.slices for edge in edges)
        return "_".join(["columns", *node.reads[0].node.split("."), *edges])
    if isinstance(node, Detached):
        return f"detached_{node.reads[0].node.replace('.', '_')}"
    if isinstance(node, Placed):
        return f"{LETTERS[node.kind]}_{node.layer}_{node.identifier}"
    assert isinstance(node, Tower)
    return f"y_{node.task}"


def widths_of(widths: tuple[int, ...]) -> Group:
    """A tuple of widths as a literal."""
    return sequence([str(width) for width in widths])


def module_keys(node: Node) -> tuple[str, ...]:
    """The path of the module: `experts.meta.watch` for `self.experts["meta"]["watch"]`."""
    if isinstance(node, Placed):
        return (MODULES[type(node)], node.layer, *node.path)
    assert isinstance(node, Tower)
    return ("towers", node.task)


def module_path(node: Node) -> str:
    """The module as an expression."""
    head, *keys = module_keys(node)
    return f"self.{head}" + "".join(f"[{literal(key)}]" for key in keys)


def _read(ports: tuple[Port, ...], variables: Variables) -> Expr:
    names: list[Expr] = [variables[port.node].name for port in ports]
    return names[0] if len(names) == 1 else call("torch.cat", sequence(names, "[]"), dim="-1")


def _feature_gate(node: FeatureGate, variables: Variables, _: Styles) -> Block:
    reads_others = len(node.reads) > 1 or node.activation != "none"
    widths = [str(node.read_width)] * reads_others + [str(node.width)]
    kind = "Reading" if reads_others else "Feature"
    if node.activation != "none":
        make = call("MLPFeatureGate", *widths, str(node.rank))
    elif node.loras == 1:
        make = call(f"Single{kind}Gate", *widths, str(node.rank))
    else:
        of = "OfLogits" if node.mix == "before_sigmoid" else ""
        make = call(f"{kind}Gate{of}", *widths, str(node.loras), str(node.rank))
    x, *others = (_read(ports, variables) for ports in (node.reads[:1], node.reading))
    home = "plain_gates" if reads_others else "plain"
    use = call(module_path(node), x, *(others if reads_others else ()))
    return Block(
        node, [(module_path(node), make)], [(_variable(node), use)], {f"{home}.{make.head}"}
    )


def _columns(node: Columns, variables: Variables, _: Styles) -> Block:
    x = variables[node.reads[0].node].name
    pieces: list[Expr] = [f"{x}[:, {start}:{end}]" for start, end in node.slices]
    joined = call("torch.cat", sequence(pieces, "[]"), dim="-1")
    return Block(node, forward=[(_variable(node), pieces[0] if len(pieces) == 1 else joined)])


def _detached(node: Detached, variables: Variables, _: Styles) -> Block:
    return Block(node, forward=[(_variable(node), f"{_read(node.reads, variables)}.detach()")])


def _experts(node: ExpertSet, variables: Variables, styles: Styles) -> Block:
    made, uses = styles.expert(node)
    number = len(styles.makers) + 1
    maker = styles.makers.setdefault(made, f"expert_{number}" if number > 1 else "expert")
    many = call("experts", str(node.count), maker, *map(str, node.widths))
    reader = "each_its_own" if len(node.reads) > 1 else "each"
    read = (
        sequence([variables[port.node].name for port in node.reads], "[]")
        if len(node.reads) > 1
        else _read(node.reads, variables)
    )
    use = call(reader, module_path(node), read)
    uses |= {"plain.experts", f"plain.{reader}"}
    return Block(node, [(module_path(node), many)], [(_variable(node), use)], uses)


def _gate(node: Gate, variables: Variables, styles: Styles) -> Block:
    if not node.has_weights:
        return Block(node, forward=[(_variable(node), "x.new_ones(x.shape[0], 1)")])
    read = "x" if node.is_static else _read(node.reads, variables)
    use = Group(module_path(node), (read,), tail=WEIGH[node.squash])
    make, uses = _static(node) if node.is_static else styles.mlp(node)
    return Block(node, [(module_path(node), make)], [(_variable(node), use)], uses)


def _static(node: Gate) -> tuple[Group, set[str]]:
    """A gate without inputs, which needs a value only for the number of rows."""
    cls = "StaticSelfGate" if isinstance(node, SelfGate) else "StaticGate"
    return call(cls, str(node.choices)), {f"plain.{cls}"}


def _mix(node: Mix, variables: Variables, styles: Styles) -> Block:
    sets = [variables[port.node].name for port in node.sets]
    foreign = () if styles.inference else node.foreign
    sets = [f"detached({name})" if i in foreign else name for i, name in enumerate(sets)]
    experts: Expr = sequence([f"*{name}" for name in sets], "[]") if len(sets) > 1 else sets[0]
    target = _variable(node)
    forward: list[tuple[str, Expr]] = [
        (target, call("mix", variables[node.gate.node].name, experts))
    ]
    for gate, position in node.residuals:
        own = call(f"{target} + mix", variables[gate.node].name, sets[position])
        forward.append((target, own))
    return Block(node, forward=forward, uses={"plain.mix", *["plain.detached"] * bool(foreign)})


def _tower(node: Tower, variables: Variables, styles: Styles) -> Block:
    make, uses = styles.mlp(node)
    if node.rate is not None:
        make = replace(make, tail=f"{make.tail}.init_prior(RATES[{literal(node.task)}])")
        uses |= {"plain.MLP", "plain.MLP__prior"}
    use = f"{module_path(node)}({variables[node.reads[0].node].name}).squeeze(-1)"
    return Block(node, [(module_path(node), make)], [(f"logits[{literal(node.task)}]", use)], uses)


def plain_trunk(nodes: Sequence[Node], graph: Graph) -> dict[str, Any]:
    """The template's variables for the trunk of a plain file."""
    once("in forward", (_variable(node) for node in nodes if not isinstance(node, Product)))
    read, readings = plain_readings(graph)
    variables: Variables = {INPUT: Variable("x")}
    variables |= {name: Variable(variable) for name, variable in read.items()}
    styles = Styles(graph)
    blocks = [
        product(node) if isinstance(node, Product) else emit_node(node, variables, styles)
        for node in nodes
    ]
    return {
        "trunk_init": "\n".join([*_makers(styles), _init(blocks)]),
        "trunk_forward": "\n".join([*readings, *_forward(blocks)]),
        "by_name": True,
        "order": [],
        "first_weight": next(
            f'towers["{n.task}"].linears[0].weight' for n in nodes if isinstance(n, Tower)
        ),
        "layers": [],
        "paths": False,
        "ranges": False,
        "uses": {name for block in blocks for name in block.uses},
    }


def _makers(styles: Styles) -> Iterator[str]:
    """The functions that create experts."""
    for made, name in styles.makers.items():
        yield f"\n{INDENT * 2}def {name}(*widths):"
        yield lay("return ", made, 3)
    if styles.makers:
        yield ""


def _init(blocks: list[Block]) -> str:
    """Nested ModuleDicts, so that the names of the weights are the logical names."""
    tree: dict[str, Any] = {}
    for block in blocks:
        for _, make in block.init:
            *path, key = module_keys(block.node)
            place = tree
            for step in path:
                place = place.setdefault(step, {})
            if key in place:
                raise AssertionError(f"{block.node.name} would be set twice")
            place[key] = make
    return "\n".join(assign(f"self.{head}", _module_dict(m), 2) for head, m in tree.items())


def _module_dict(modules: dict[str, Any] | Expr) -> Expr:
    if not isinstance(modules, dict):
        return modules
    return call("nn.ModuleDict", mapping([(k, _module_dict(m)) for k, m in modules.items()]))


def _forward(blocks: list[Block]) -> Iterator[str]:
    layer = ""
    for block in blocks:
        if not isinstance(block.node, VIEWS) and _layer_of(block.node) != layer:
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
    Columns: _columns,
    Detached: _detached,
    FeatureGate: _feature_gate,
    ExpertSet: _experts,
    Gate: _gate,
    SelfGate: _gate,
    Mix: _mix,
    Tower: _tower,
}
