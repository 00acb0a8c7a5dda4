"""Which slices of batched values feed a batch: the decisions about views, expands and cats.

A batch of M members reads M ports. Members that read the same value follow each other, so their
reads are runs. Where all runs are equally long, the runs' G values are enough: the generated blocks
let each of G inputs serve M/G members, one wide GEMM each. Unequal runs are expanded.

Values are sliced, never split: inductor of torch 2.13 loses gradients of `split`. It writes their
concatenation and what is computed from it into one buffer (tests/test_runtime.py), or over a whole
of which a piece is kept for the backward pass (tests/test_saved.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import groupby

from homespec.emit.block import Columns, Scope
from homespec.emit.layout import Expr, call, sequence
from homespec.nodes import Port

Reads = tuple[Port, ...]


def runs(reads: Sequence[Reads]) -> list[tuple[Reads, int]]:
    """Consecutive equal reads with the length of each run."""
    return [(key, len(list(group))) for key, group in groupby(reads)]


def inputs(reads: Sequence[Reads], variables: Scope) -> Expr:
    """The input [G, N, B] of a batch whose members read `reads`, G dividing their number."""
    found = runs(reads)
    equal = len({length for _, length in found}) == 1
    chosen = [key for key, _ in found] if equal else list(reads)
    parts = [stacked([key[i] for key in chosen], variables) for i in range(len(chosen[0]))]
    return parts[0] if len(parts) == 1 else call("torch.cat", sequence(parts, "[]"), dim="1")


def stacked(ports: Sequence[Port], variables: Scope, rest: int = 2) -> Expr:
    """The values of `ports` along a new first axis; `rest` counts the axes behind it."""
    pieces: list[Expr] = []
    for first, last, times in _repeated_slices(ports):
        piece = part(variables, first, last)
        if times > 1 and first == last:
            piece = f"{piece}.expand({times}{', -1' * rest})"
        elif times > 1:
            piece = f"{piece}.repeat_interleave({times}, 0)"
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else call("torch.cat", sequence(pieces, "[]"))


def part(variables: Scope, first: Port, last: Port) -> str:
    """The slice of a batched value from member `first` to member `last`; all of it bare."""
    variable = variables[first.node]
    if first.member is None or last.member is None:
        return variable.name
    start, stop = first.member, last.member + 1
    if (start, stop) == (0, variable.size):
        return variable.name
    return f"{variable.name}[{start}:{stop}]"


def heads(nodes: Sequence[tuple[str, str]], scope: Scope) -> Expr:
    """What projections made for nodes, below each other: [nodes, columns of one, B].

    `nodes` are keys of `scope.columns`. Where they are all nodes of neighbouring groups, these need
    no slices.
    """
    waiting = [scope.columns[node] for node in nodes]
    pieces: list[Expr] = []
    while waiting:
        whole = _whole_groups(waiting)
        first = waiting[0]
        groups = max(whole, 1)
        read = first.variable
        if groups < first.size:
            read += f"[{first.group}:{first.group + groups}]"
        piece = f"apart({read}, {groups * first.each})" if first.each > 1 else read
        if not whole:
            piece += f"[{first.index}:{first.index + 1}]"
        pieces.append(piece)
        del waiting[: whole * first.each or 1]
    return pieces[0] if len(pieces) == 1 else call("torch.cat", sequence(pieces, "[]"))


def _whole_groups(waiting: list[Columns]) -> int:
    """How many neighbouring groups the columns begin with, each with all of its nodes in order."""
    first, each = waiting[0], waiting[0].each
    count = 0
    for start in range(0, len(waiting), each):
        group = first.group + count
        wanted = [dataclasses.replace(first, group=group, index=i) for i in range(each)]
        if waiting[start : start + each] != wanted:
            break
        count += 1
    return count


def _repeated_slices(ports: Sequence[Port]) -> list[tuple[Port, Port, int]]:
    """Ports as slices of neighbouring members, each member of which is repeated equally often."""
    slices: list[tuple[Port, Port, int]] = []
    for port, group in groupby(ports):
        times = len(list(group))
        if slices and slices[-1][2] == times and follows(slices[-1][1], port):
            slices[-1] = (slices[-1][0], port, times)
        else:
            slices.append((port, port, times))
    return slices


def follows(left: Port, right: Port) -> bool:
    """Whether `right` is the next member of the same batch."""
    if left.member is None or right.member is None:
        return False
    return left.node == right.node and left.member + 1 == right.member
