"""Stage 6, emit: nothing in a generated file is set twice, whatever names a spec gives.

A constant, an attribute or an entry that hides another one of the same name would lose weights
without a word. Names are chosen so that this cannot happen; here the text itself is looked at.
`Scope` and `plain` do the same for variables and for logical names.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator

LAYERS = ("Layer", "Trunk")
"""The ends of the names of classes whose attributes come from the spec."""


def check_unique(text: str) -> None:
    """Raise AssertionError for what is set twice; a mistake in homespec, not in the spec."""
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


def once(where: str, names: Iterable[str]) -> None:
    """Raise AssertionError for names that are there twice."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise AssertionError(f"{where} {', '.join(twice)} would be set twice")


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
