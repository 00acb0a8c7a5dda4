"""Stage 6, emit: the class Trunk, from the blocks of its nodes; how logits become one tensor."""

from __future__ import annotations

from typing import Any

from homespec.emit.block import Block
from homespec.emit.layout import INDENT, LINE, Expr, assign, call, lay, mapping, sequence, then
from homespec.emit.stacks import variable_name
from homespec.nodes import Batch, Node, Placed, Product, Tower


def trunk(
    blocks: list[Block], tasks: list[str], where: dict[str, str], plain: bool
) -> dict[str, Any]:
    """What the template needs of it. `where` are the places of nodes in the spec.

    The logits of batches of towers stay one tensor, gathered if not in the order of the tasks; with
    towers that are no batches, or products, they are put together by name.
    """
    init = _plain_init(blocks, where) if plain else _batched_init(blocks, where)
    towered = _towered(blocks)
    by_name = set(towered) != set(tasks)
    reorder = not by_name and towered != tasks
    return {
        "trunk_init": f"{init}\n{_order(blocks)}" if reorder else init,
        "trunk_forward": _forward(blocks, by_name, reorder),
        "by_name": by_name,
        "reorder": reorder,
    }


def first_member(node: Node) -> Node:
    """The node itself, of a batch its first member."""
    return node.members[0] if isinstance(node, Batch) else node


def _layer_of(block: Block) -> str:
    first = first_member(block.node)
    if isinstance(first, Placed):
        return f"layer {first.layer}"
    return "products" if isinstance(first, Product) else "towers"


def _batched_init(blocks: list[Block], where: dict[str, str]) -> str:
    lines = []
    for block in blocks:
        if block.init:
            lines.append(f"{INDENT * 2}# {_comment(block.node, where)}")
            lines += [assign(target, expr, 2) for target, expr in block.init]
    return "\n".join(lines)


def _comment(node: Node, where: dict[str, str]) -> str:
    """What is in a batch, in the names of the spec, and where the spec says so."""
    assert isinstance(node, Batch)
    names = [m.place if isinstance(m, Placed) else m.name.rpartition(".")[2] for m in node.members]
    room = LINE - 30 - len(where[node.name])
    shown = ", ".join(names)
    if len(shown) > room:
        few = shown[: room - 10].rpartition(", ")[0]
        shown = f"{few} and {len(names) - 1 - few.count(',')} more"
    return f"{shown}  ({where[node.name]})"


def _plain_init(blocks: list[Block], where: dict[str, str]) -> str:
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


def _towered(blocks: list[Block]) -> list[str]:
    """The tasks of the batches of towers, in the order in which these put out their logits."""
    members = [m for batch in _tower_batches(blocks) for m in batch.members]
    return [m.task for m in members if isinstance(m, Tower)]


def _order(blocks: list[Block]) -> str:
    """The row of each task in the logits of all towers."""
    names = [batch.name.upper() for batch in _tower_batches(blocks)]
    rows = names[0] if len(names) == 1 else f"({', '.join(f'*{name}' for name in names)})"
    row = f"{rows}.index(task) for task in TASKS"
    lines = [
        f"{INDENT * 2}# rows of logits in the order of TASKS",
        assign("order", f"[{row}]", 2),
        assign("", call("self.constant", '"order"', "order"), 2),
    ]
    return "\n".join(lines)


def _tower_batches(blocks: list[Block]) -> list[Batch]:
    return [b.node for b in blocks if isinstance(b.node, Batch) and is_tower(b.node)]


def is_tower(node: Node) -> bool:
    """Whether it is a tower or a batch of towers."""
    return isinstance(first_member(node), Tower)


def _forward(blocks: list[Block], by_name: bool, reorder: bool) -> str:
    lines: list[str] = []
    layer = ""
    for block in blocks:
        if _layer_of(block) != layer:
            layer = _layer_of(block)
            lines += [""] if lines else []
            lines.append(f"{INDENT * 2}# {layer}")
        lines += [assign(target, expr, 2) for target, expr in block.forward]
        if by_name and isinstance(block.node, Batch) and is_tower(block.node):
            lines.append(assign("", _logits_by_task(block.node), 2))
    if by_name:
        return "\n".join([*lines, f"{INDENT * 2}return torch.stack([logits[t] for t in TASKS])"])
    names = [variable_name(batch) for batch in _tower_batches(blocks)]
    if len(names) == 1 and not reorder:
        ((_, found),) = blocks[-1].forward
        return "\n".join([*lines[:-1], lay("return ", found, 2)])
    rows: Expr = names[0] if len(names) == 1 else call("torch.cat", sequence(names, "[]"))
    if reorder:
        rows = then(rows, ".index_select(0, self.order)")
    return "\n".join([*lines, lay("return ", rows, 2)])


def _logits_by_task(batch: Batch) -> Expr:
    logits = f"{variable_name(batch)}.unbind()"
    return call("logits.update", call("zip", batch.name.upper(), logits, strict="True"))
