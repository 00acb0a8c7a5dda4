"""Generated files hold what their spec uses and nothing else."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hierarchies import random_spec
from parity import load

import homespec

ROOT = Path(__file__).resolve().parent.parent
SPECS = sorted((ROOT / "specs").rglob("*.yaml"))
PUBLIC = {
    "FEATURES", "TASKS", "LABELS", "WEIGHTS", "SCALES", "WHERE", "Model", "Trunk", "loss", "losses",
    "stacked_losses", "observed", "logical_names", "logical_state", "logical_views",
    "load_logical_state", "set_boundaries", "ordered",
}  # fmt: skip
"""What users of a file call; nothing in the file has to."""
CALLED_BY_TORCH = {"__init__", "forward", "backward", "train", "_apply"}


def unused(source: str) -> list[str]:
    """Names, methods, arguments and options of a file that nothing in it uses."""
    tree = ast.parse(source)
    loaded = Counter(
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    )
    attributes = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    attributes.add("logical")  # looked up by name
    found = [name for name in defined(tree) if name not in PUBLIC and not loaded[name]]
    for part in (p for p in tree.body if isinstance(p, ast.ClassDef)):
        for method in (m for m in part.body if isinstance(m, ast.FunctionDef)):
            if method.name not in CALLED_BY_TORCH | attributes:
                found.append(f"{part.name}.{method.name}")
            found += [f"{part.name}.{method.name}({a})" for a in ignored(method)]
            if method.name == "__init__":
                found += [f"{part.name}({o}=…)" for o in never_given(tree, part.name, method)]
    return found


def defined(tree: ast.Module) -> Iterator[str]:
    for part in tree.body:
        if isinstance(part, ast.FunctionDef | ast.ClassDef):
            yield part.name
        elif isinstance(part, ast.Assign):
            yield from (t.id for t in part.targets if isinstance(t, ast.Name))


def ignored(method: ast.FunctionDef) -> list[str]:
    arguments = [a.arg for a in (*method.args.args, *method.args.kwonlyargs)]
    read = {n.id for n in ast.walk(method) if isinstance(n, ast.Name)}
    return [a for a in arguments if a not in {"self", "ctx", "_", *read}]


def never_given(tree: ast.Module, name: str, init: ast.FunctionDef) -> list[str]:
    """Options with a default that no call of the class gives."""
    calls = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == name
    ]
    positional = [a.arg for a in init.args.args][1:]
    options = positional[len(positional) - len(init.args.defaults) :]
    options += [
        a.arg for a, d in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True) if d
    ]
    given = {k.arg for call in calls for k in call.keywords}
    given |= {a for call in calls for a, _ in zip(positional, call.args, strict=False)}
    return [o for o in options if calls and o not in given]


def check(spec: Any) -> None:
    for mode in ("training", "inference"):
        assert unused(homespec.compile(spec, mode=mode)) == [], mode


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shipped_specs(path: Path) -> None:
    check(homespec.load(path))


@pytest.mark.parametrize("seed", range(100))
def test_random_specs(seed: int) -> None:
    check(load(random_spec(seed)))


def test_what_is_unused_is_found() -> None:
    source = """
import torch
SPARE = 1
class Table:
    def __init__(self, width, extra=2):
        self.width = width
    def forward(self, rows, spare):
        return rows
    def peek(self):
        return self.width
class Model:
    def __init__(self):
        self.table = Table(3)
"""
    assert unused(source) == ["SPARE", "Table.__init__(extra)", "Table(extra=…)",
                              "Table.forward(spare)", "Table.peek"]  # fmt: skip
