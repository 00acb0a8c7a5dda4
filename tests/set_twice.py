"""What a generated file sets twice: a constant, an attribute or an entry that hides another one.

Emission looks at the names that it chooses; tests look at the text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from homespec.emit.naming import once

LAYERS = ("Layer", "Trunk")
"""The ends of the names of classes whose attributes come from the spec."""


def check_unique(text: str) -> None:
    """Raise AssertionError for what is set twice."""
    tree = ast.parse(text)
    once("in the file", _defined(tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            once("in a dict", map(repr, keys))
    for part in tree.body:
        if isinstance(part, ast.ClassDef):
            once(f"in {part.name}", _defined(part.body))
            if part.name == "Features" or part.name.endswith(LAYERS):
                once(f"of {part.name}", _attributes(part))


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    """The names of functions, classes, constants and imports."""
    for part in body:
        match part:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (ast.unparse(target) for target in targets)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from ((each.asname or each.name).partition(".")[0] for each in names)


def _attributes(part: ast.ClassDef) -> Iterator[str]:
    """What `__init__` sets on the module, one line of it at a time."""
    for method in part.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            yield from (n for n in _defined(method.body) if n.startswith("self."))
