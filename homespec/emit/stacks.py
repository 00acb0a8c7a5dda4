"""Stage 7, emit: stacks of Linears and MLPs, and the classes that a file needs for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from homespec.emit.layout import Expr, Group, call
from homespec.graph import Graph
from homespec.graph.nodes import ExpertSet, Gate, SelfGate, Tower

ACTIVATIONS = {"relu": "F.relu", "swish": "F.silu"}
BARE = {"stacks.Linears__bare"}


def mlps(
    names: Expr,
    widths: tuple[int, ...],
    activation: str,
    graph: Graph,
    he: int,
    last_bias: bool = True,
) -> tuple[Group, set[str]]:
    """A stack of MLPs, one for each logical name, and the blocks that it uses.

    The first `he` layers start with He's weights.
    """
    several = len(set(hidden_activations(graph))) > 1
    swish = len(widths) > 2 and activation == "swish"
    name = "SwishMLPs" if swish and several else "MLPs"
    uses = {f"stacks.{name}", "stacks.Linears"}
    if swish and not several:
        uses.add("stacks.MLPs__swish")
    if last_bias:
        made = call(name, names, *map(str, widths))
        return with_he(made, he, widths), uses | ({"stacks.MLPs__he"} if he else set())
    made = call(name, names, *map(str, widths), last_bias="False")
    return made, uses | {"stacks.MLPs__bare"} | BARE


def with_he(made: Group, he: int, widths: tuple[int, ...]) -> Group:
    """An MLP of these widths whose first `he` layers, all or all but one, start as He's do."""
    if not he:
        return made
    return replace(made, tail=f".init_he({'last=True' if he == len(widths) - 1 else ''})")


def hidden_activations(graph: Graph) -> Iterator[str]:
    """The activations of the hidden layers of all MLPs."""
    for experts in graph.of(ExpertSet):
        if len(experts.widths) > 2:
            yield experts.hidden_activation
    for gate in (*graph.of(Gate), *graph.of(SelfGate)):
        if len(gate.widths) > 2:
            yield gate.hidden_activation
    for tower in graph.of(Tower):
        if len(tower.widths) > 2:
            yield tower.activation
