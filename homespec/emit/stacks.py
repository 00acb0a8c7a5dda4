"""Stage 6, emit: what the blocks of batches have in common: their variables, MLPs and names."""

from __future__ import annotations

from typing import Any, TypeVar

from homespec.emit.block import Logical, Scope
from homespec.emit.layout import Expr, Group, call, sequence
from homespec.emit.slices import inputs
from homespec.nodes import Batch, Node, Placed

N = TypeVar("N", bound=Node)
ACTIVATIONS = {"relu": "F.relu", "swish": "F.silu"}
LETTERS = {
    "feature_gates": ("x", "SNB"),
    "experts": ("e", "SKDB"),
    "gates": ("w", "OCB"),
    "self_gates": ("s", "SKB"),
    "states": ("z", "ODB"),
    "towers": ("y", "TB"),
}
"""Letter and shape of the variable that holds the value of each kind of batch."""


def variable_name(batch: Batch) -> str:
    """The batch's name with the field's letter and the shape: experts_meta -> e_meta_SKDB."""
    kind = next(kind for kind in LETTERS if batch.name == kind or batch.name.startswith(f"{kind}_"))
    letter, shape = LETTERS[kind]
    return f"{letter}{batch.name.removeprefix(kind)}_{shape}"


def members_of(batch: Batch, kind: type[N]) -> tuple[list[N], N]:
    """The members, known to be of one kind, and the first of them."""
    members = [m for m in batch.members if isinstance(m, kind)]
    return members, members[0]


def places_of(members: list[Any]) -> tuple[str, ...]:
    """Where the members stand in the task tree."""
    return tuple(m.place if isinstance(m, Placed) else m.task for m in members)


def input_of(batch: Batch, variables: Scope) -> Expr:
    """What a batch reads, [G, N, B]."""
    return inputs([member.reads for member in batch.members], variables)


def widths_of(widths: tuple[int, ...]) -> Group:
    """A tuple of widths as a literal."""
    return sequence([str(width) for width in widths])


def mlps(count: int, widths: tuple[int, ...], activation: str, last_bias: bool = True) -> Group:
    """A stack of MLPs."""
    options: dict[str, Expr] = {}
    if len(widths) > 2 and activation != "relu":
        options["activation"] = ACTIVATIONS[activation]
    if not last_bias:
        options["last_bias"] = "False"
    return call("MLPs", str(count), widths_of(widths), **options)


def mlp_logical(
    tensor: str,
    pattern: str,
    axes: tuple[tuple[str, ...] | int, ...],
    layers: int,
    last_bias: bool = True,
) -> list[Logical]:
    """Logical names of the weights and biases of stacked MLPs."""
    rows = []
    for i in range(layers):
        rows.append(Logical(f"{tensor}.weights.{i}", f"{pattern}.linears.{i}.weight", axes))
        if last_bias or i < layers - 1:
            rows.append(Logical(f"{tensor}.biases.{i}", f"{pattern}.linears.{i}.bias", axes))
    return rows
