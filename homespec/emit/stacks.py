"""Stage 7, emit: stacks of Linears and MLPs, and the classes that a file needs for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from homespec.emit.following import after_hidden, biases, by_names, is_layered, stacked
from homespec.emit.layout import Expr, Group, call, literal
from homespec.graph import Graph
from homespec.graph.feature_nodes import SPLIT
from homespec.graph.nodes import Activation, ExpertSet, Gate, Node, Port, SelfGate, Tower

Mlp = ExpertSet | Gate | Tower
BARE = {"stacks.Linears__bare"}
SPLIT_BARE = {*BARE, "stacks.SplitLinears__bare"}
AS_HE = ("relu", "swish", "gelu")
"""The activations with the same initial weights (He) as ReLU."""


def mlps(names: Expr, node: Mlp, graph: Graph) -> tuple[Group, set[str]]:
    """A stack of MLPs like a node's, one for each logical name, and the blocks that it uses."""
    layered = is_layered(node)
    made, uses = (_layered if layered else _of_class)(names, node, graph)
    tail, forms = start_of(node.starts, node.widths, layered)
    if is_split(node):
        tail, forms = ".over_v()", ["over_v"]  # only for inference, which initialises nothing
    return replace(made, tail=tail), uses | {f"stacks.MLPs__{form}" for form in forms}


def is_split(node: Node) -> bool:
    """Whether it reads v in two parts."""
    return node.reads == (Port(SPLIT),)


def _of_class(names: Expr, node: Mlp, graph: Graph) -> tuple[Group, set[str]]:
    """MLPs whose class has their activation."""
    several = len(set(class_activations(graph))) > 1
    following = after_hidden(node)
    swish = following is not None and following.activation == "swish"
    name = "SwishMLPs" if swish and several else "MLPs"
    uses = {f"stacks.{name}", "stacks.Linears"}
    if swish and not several:
        uses.add("stacks.MLPs__swish")
    if all(biases(node)):
        return call(name, names, *map(str, node.widths)), uses
    made = call(name, names, *map(str, node.widths), last_bias="False")
    return made, uses | {"stacks.MLPs__bare"} | BARE


def _layered(names: Expr, node: Mlp, graph: Graph) -> tuple[Group, set[str]]:
    """MLPs with modules after hidden layers."""
    following = after_hidden(node)
    assert following is not None
    modules, uses = stacked(following, "names", "width")
    options: dict[str, Expr] = {"hidden": by_names(modules)}
    if not all(all(biases(mlp)) for mlp in _mlps(graph) if is_layered(mlp)):
        options["biases"] = literal(biases(node))
        uses |= {"stacks.LayeredMLPs__bare"} | BARE
    made = call("LayeredMLPs", names, *map(str, node.widths), **options)
    return made, uses | {"stacks.LayeredMLPs", "stacks.Linears"}


def start_of(
    starts: tuple[Activation, ...], widths: tuple[int, ...], layered: bool
) -> tuple[str, list[str]]:
    """The call that initialises the first Linears of MLPs, and the variants of their class."""
    if not starts:
        return "", []
    if all(activation in AS_HE for activation in starts) and not layered:
        return f".init_he({'last=True' if len(starts) == len(widths) - 1 else ''})", ["he"]
    return f".init_for({', '.join(literal(_like(each)) for each in starts)})", ["gains"]


def _like(activation: Activation) -> Activation:
    """The activation whose gain is used for it."""
    return "relu" if activation in AS_HE else activation


def class_activations(graph: Graph) -> Iterator[str]:
    """The activations of the hidden layers of all MLPs whose class has them."""
    for node in _mlps(graph):
        following = after_hidden(node)
        if following is not None and following.of_class:
            yield following.activation


def _mlps(graph: Graph) -> list[Mlp]:
    """All nodes with MLPs."""
    return [
        *graph.of(ExpertSet), *graph.of(Gate), *graph.of(SelfGate), *graph.of(Tower)
    ]  # fmt: skip
