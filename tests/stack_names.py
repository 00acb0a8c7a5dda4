"""Which MLPs the modules of a stack belong to."""

from __future__ import annotations

from torch import nn


def linears_before(model: nn.Module, path: str) -> list[str]:
    """What the module at a path follows: `towers.click.hidden.0` for each of the Linears before.

    `experts.meta.watch.0` after the last Linears. Nothing where the module is in no stack.
    """
    parent, _, number = path.rpartition(".")
    siblings = list(model.get_submodule(parent).children())
    if not number.isdigit():
        return []
    before = siblings[: int(number)]
    while before:
        last = before.pop()
        stack = [m for m in last.modules() if type(m).__name__ == "Linears"]
        if stack:
            is_last = len(list(last.children())) > 0 or type(siblings[0]).__name__ != "Linears"
            return [_place(name, is_last) for name in stack[-1].names]
    return []


def _place(linear: str, is_last: bool) -> str:
    mlp, _, number = linear.partition(".linears.")
    return mlp if is_last else f"{mlp}.hidden.{number}"
