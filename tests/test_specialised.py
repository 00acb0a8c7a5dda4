"""Generated files hold what their spec uses and nothing else."""

from __future__ import annotations

import ast
import functools
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
    "load_logical_state", "set_boundaries", "set_scaling", "set_vocabularies",
    "ordered",
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
    attributes.add("_logical")  # looked up by name
    found = [name for name in defined(tree) if name not in PUBLIC and not loaded[name]]
    for function in (f for f in tree.body if isinstance(f, ast.FunctionDef)):
        if function.name not in PUBLIC and calls_of(tree, function.name):  # others are for torch
            found += [f"{function.name}({a})" for a in ignored(function)]
            found += [f"{function.name}({o}=…)" for o in never_given(tree, function.name, function)]
    for part in (p for p in tree.body if isinstance(p, ast.ClassDef)):
        for method in (m for m in part.body if isinstance(m, ast.FunctionDef)):
            if method.name not in CALLED_BY_TORCH | attributes:
                found.append(f"{part.name}.{method.name}")
            found += [f"{part.name}.{method.name}({a})" for a in ignored(method)]
            if method.name == "__init__":
                found += [f"{part.name}({o}=…)" for o in never_given(tree, part.name, method)]
    return found + [f"if {test}" for test in constant_conditions(tree)]


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


def never_given(tree: ast.Module, name: str, function: ast.FunctionDef) -> list[str]:
    """Options with a default that no call gives; of functions that nothing calls none."""
    calls = calls_of(tree, name)
    defaults = [a for a, d in parameters(function).items() if d is not None and a != "_"]
    return [o for o in defaults if calls and not any(o in given(c, function) for c in calls)]


def calls_of(tree: ast.Module, name: str) -> list[ast.Call]:
    """Calls of a function or class, or of a class that inherits its `__init__`."""
    names = {name}
    for part in (p for p in tree.body if isinstance(p, ast.ClassDef)):
        makes = any(isinstance(m, ast.FunctionDef) and m.name == "__init__" for m in part.body)
        if not makes and names & {ast.unparse(base) for base in part.bases}:
            names.add(part.name)
    return [call for each in names for call in calls_in(tree).get(each, [])]


@functools.cache
def calls_in(tree: ast.Module) -> dict[str, list[ast.Call]]:
    """All calls of a file by the name of what they call."""
    found: dict[str, list[ast.Call]] = {}
    for n in ast.walk(tree):
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name):
            found.setdefault(n.func.id, []).append(n)
    return found


def parameters(function: ast.FunctionDef) -> dict[str, ast.expr | None]:
    """Parameters and their defaults, without self."""
    args = function.args
    names = [a.arg for a in args.args]
    defaults = [None] * (len(names) - len(args.defaults)) + list(args.defaults)
    found = dict(zip(names, defaults, strict=True))
    found |= {a.arg: d for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True)}
    return {name: default for name, default in found.items() if name not in {"self", "ctx"}}


def given(call: ast.Call, function: ast.FunctionDef) -> dict[str, ast.expr]:
    """What a call gives for parameters; a starred argument may be for any of those that follow."""
    positional = [a.arg for a in function.args.args if a.arg not in {"self", "ctx"}]
    found = {k.arg: k.value for k in call.keywords if k.arg}
    for i, argument in enumerate(call.args):
        if isinstance(argument, ast.Starred):
            if function.args.vararg is None:
                found |= dict.fromkeys(positional[i:], argument.value)
            break
        if i < len(positional):
            found[positional[i]] = argument
    return found


OTHER = object()
"""What is no literal: neither None nor of a known truth."""


def literal(value: ast.expr | None) -> Any:
    return value.value if isinstance(value, ast.Constant) else OTHER


def constant_conditions(tree: ast.Module) -> Iterator[str]:
    """Tests of `if` that are always true or always false in this file, as text.

    They are about parameters for which all callers give the same, and attributes set to such.
    """
    for part in tree.body:
        if isinstance(part, ast.FunctionDef) and part.name not in PUBLIC:
            yield from constant_tests(part, values_of(tree, part.name, part))
        if isinstance(part, ast.ClassDef):
            methods = [m for m in part.body if isinstance(m, ast.FunctionDef)]
            inits = [m for m in methods if m.name == "__init__"]
            known = {k: v for m in inits for k, v in values_of(tree, part.name, m).items()}
            known |= {k: v for m in methods for k, v in attributes_of(m, known).items()}
            for method in methods:
                own = known if method.name == "__init__" else {
                    k: v for k, v in known.items() if k.startswith("self.")
                }  # fmt: skip
                yield from constant_tests(method, own)


def values_of(tree: ast.Module, name: str, function: ast.FunctionDef) -> dict[str, list[Any]]:
    """The literals that calls give for each parameter."""
    calls = calls_of(tree, name)
    return {
        parameter: [literal(given(call, function).get(parameter, default)) for call in calls]
        for parameter, default in parameters(function).items()
        if calls
    }


def attributes_of(method: ast.FunctionDef, known: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The values of attributes that a method sets, by `self.name`."""
    found: dict[str, list[Any]] = {}
    for node in ast.walk(method):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                    name = ast.unparse(node.value)
                    values = known.get(name, [literal(node.value)])
                    found.setdefault(ast.unparse(target), []).extend(values)
    return found


def constant_tests(function: ast.FunctionDef, known: dict[str, list[Any]]) -> Iterator[str]:
    stored = {
        ast.unparse(n)
        for n in ast.walk(function)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            test = node.test.operand if isinstance(node.test, ast.UnaryOp) else node.test
            subject = test.left if isinstance(test, ast.Compare) else test
            values = known.get(ast.unparse(subject), [OTHER])
            if ast.unparse(subject) in stored or not values:
                continue
            if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is | ast.IsNot):
                if len({value is None for value in values}) == 1 and subject_is_parameter(subject):
                    yield ast.unparse(node.test)
            elif OTHER not in values and len({bool(value) for value in values}) == 1:
                yield ast.unparse(node.test)


def subject_is_parameter(subject: ast.expr) -> bool:
    """An attribute set by an expression may be None by that."""
    return isinstance(subject, ast.Name)


def check(spec: Any) -> None:
    for optimize in (True, False):
        for mode in ("training", "inference"):
            text = homespec.compile(spec, mode=mode, optimize=optimize)
            assert unused(text) == [], (mode, optimize)


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


def test_conditions_that_are_constant_are_found() -> None:
    source = """
class Linears:
    def __init__(self, width, bias=True, scale=None):
        self.bias = bias
        self.kept = None
        self.weight = width if scale is None else scale
    def forward(self, x):
        if self.bias:
            x = x + 1
        return x if self.kept else self.weight
class Model:
    def __init__(self, size):
        if size > 1:
            Linears(1, bias=True)
        Linears(2)
        Model(half(3, None))
        half(4, 5)
def half(x, y):
    if y is None:
        return x
    return y
"""
    assert list(constant_conditions(ast.parse(source))) == [
        "scale is None", "self.bias", "self.kept",
    ]  # fmt: skip


def test_legends_explain_the_model_and_not_the_words_of_its_spec() -> None:
    """Names and descriptions look like shapes, and like names that need an explanation."""
    legends = []
    for name, description in (("f", "d"), ("a_to_b_path_BFQ", "[F, S, L] x_to_y x_path y_BLE")):
        text = (
            f"homespec: 1\nname: m\nfamily: mmoe\ndescription: '{description}'\n"
            f"features: {{{name}: {{id: {{vocab: 9}}, dim: 4}}}}\ntasks: {{t: , u: }}\n"
        )
        doc = ast.get_docstring(ast.parse(homespec.compile(homespec.loads(text))))
        assert doc is not None
        legends.append(doc[doc.index("A layer reads") :])
    assert legends[0] == legends[1]
    assert "R their rank" not in legends[0]
