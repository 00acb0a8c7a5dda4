"""Which slices of batched values feed a batch: the decisions about views, expands and cats.

A batch of M members reads M ports. Members that read the same value follow each other, so their
reads are runs. Where all runs are equally long, the runs' G values are enough: the generated blocks
let each of G inputs serve M/G members, one wide GEMM each. Unequal runs are expanded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from homespec.emit.block import Variable
from homespec.emit.layout import Expr, call, sequence
from homespec.graph import INPUT, Port

Variables = Mapping[str, Variable]
Reads = tuple[Port, ...]


def runs(reads: Sequence[Reads]) -> list[tuple[Reads, int]]:
    """Consecutive equal reads with the length of each run."""
    return [(key, len(list(group))) for key, group in groupby(reads)]


def inputs(reads: Sequence[Reads], variables: Variables) -> Expr:
    """The input [G, B, N] of a batch whose members read `reads`, G dividing their number."""
    found = runs(reads)
    equal = len({length for _, length in found}) == 1
    chosen = [key for key, _ in found] if equal else list(reads)
    parts = [stacked([key[i] for key in chosen], variables) for i in range(len(chosen[0]))]
    return parts[0] if len(parts) == 1 else call("torch.cat", sequence(parts, "[]"), dim="-1")


def stacked(ports: Sequence[Port], variables: Variables, rest: int = 2) -> Expr:
    """The values of `ports` along a new first axis; `rest` counts the axes behind it."""
    pieces: list[Expr] = []
    for port, length in _repeats(ports):
        piece = part(variables, port, port)
        pieces.append(f"{piece}.expand({length}{', -1' * rest})" if length > 1 else piece)
    merged = _merge(ports, variables)
    if merged is not None:
        return merged
    return pieces[0] if len(pieces) == 1 else call("torch.cat", sequence(pieces, "[]"))


def part(variables: Variables, first: Port, last: Port) -> str:
    """The slice of a batched value from member `first` to member `last`; all of it bare."""
    variable = variables[first.node]
    if first.node == INPUT:
        return f"{variable.name}.unsqueeze(0)"
    if first.member is None or last.member is None:
        return variable.name
    if first.member == 0 and last.member == variable.size - 1:
        return variable.name
    return f"{variable.name}[{first.member}:{last.member + 1}]"


def _repeats(ports: Sequence[Port]) -> list[tuple[Port, int]]:
    return [(port, len(list(group))) for port, group in groupby(ports)]


def _merge(ports: Sequence[Port], variables: Variables) -> Expr | None:
    """Ascending members as few slices; None where a member repeats."""
    slices: list[tuple[Port, Port]] = []
    for port, length in _repeats(ports):
        if length > 1:
            return None
        if slices and follows(slices[-1][1], port):
            slices[-1] = (slices[-1][0], port)
        else:
            slices.append((port, port))
    pieces: list[Expr] = [part(variables, first, last) for first, last in slices]
    return pieces[0] if len(pieces) == 1 else call("torch.cat", sequence(pieces, "[]"))


def follows(left: Port, right: Port) -> bool:
    """Whether `right` is the next member of the same batch."""
    if left.member is None or right.member is None:
        return False
    return left.node == right.node and left.member + 1 == right.member
