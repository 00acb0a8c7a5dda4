"""The work of each verb grows with the size of the spec, not with its square."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from click.testing import CliRunner

import homespec
from homespec.cli.main import cli

HEAD = "homespec: 1\nname: big\n"
USER = "features: {user_id: {id: {buckets: 1000}, dim: 64}}\n"
PACKAGE = str(Path(homespec.__file__).parent)


def lines(number: int, line: Callable[[int], str]) -> str:
    return "".join(f"  {line(i)}\n" for i in range(number))


def many_groups(n: int) -> str:
    groups = lines(n, lambda i: f"g{i}: [a{i}, b{i}]")
    tasks = lines(n, lambda i: f"a{i}: {{rate: 0.001}}\n  b{i}: {{label: a{i} > 0}}")
    return f"{HEAD}{USER}groups:\n{groups}tasks:\n{tasks}"


def many_features(n: int) -> str:
    features = lines(n, lambda i: f"f{i}: {{id: {{vocab: 3}}, dim: 8}}\n  g{i}: {{table: f{i}}}")
    return f"{HEAD}family: mmoe\nfeatures:\n{features}tasks: {{click: , like: }}\n"


def family(name: str) -> Callable[[int], str]:
    return lambda n: f"{HEAD}{USER}family: {name}\ntasks:\n" + lines(n, lambda i: f"t{i}: {{}}")


def products(n: int) -> str:
    factors = lines(n, lambda i: f"c{i}: {{label: b{i}, weight: 0}}")
    tasks = factors + lines(n, lambda i: f"p{i}: {{label: b{i}, product: [a, c{i}]}}")
    return f"{HEAD}{USER}family: mmoe\ntasks:\n  a: {{}}\n{tasks}"


def by_hand(n: int) -> str:
    names = [f"t{i}" for i in range(n)]
    sets = ", ".join(f"{name}: 1" for name in ("shared", *names))
    layer = f"  - experts: {{{sets}}}\n    outputs: [shared, {', '.join(names)}]\n"
    last = layer.replace("[shared, ", "[")
    return f"{HEAD}{USER}layers:\n{layer}{last}tasks:\n" + lines(n, lambda i: f"t{i}: {{}}")


SHAPES: dict[str, Callable[[int], str]] = {
    "groups": many_groups,
    "features": many_features,
    "mmoe": family("mmoe"),
    "ple": family("ple"),
    "products": products,
    "layers by hand": by_hand,
}
VERBS = {
    "validate": ["validate"],
    "show": ["show", "--format", "json"],
    "expanded": ["show", "--expanded"],
    "graph": ["graph"],
    "explain": ["explain", "--spec"],
    "compile": ["compile", "--stdout"],
    "plain": ["compile", "--stdout", "--no-optimize"],
}


def work(arguments: list[str], text: str) -> int:
    """How many lines of homespec run, each turn of a comprehension included."""
    count = 0

    def local(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    def entered(frame: FrameType, _event: str, _arg: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(PACKAGE) else None

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        result = CliRunner().invoke(cli, [*arguments, "-"], input=text, standalone_mode=False)
    finally:
        sys.settrace(before)
    assert (result.exception, result.return_value) == (None, 0), result.output
    return count


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("verb", VERBS)
def test_twice_the_size_is_twice_the_work(verb: str, shape: str) -> None:
    """Sizes are such that a part that grows with the square would show."""
    small, large = (SHAPES[shape](n) for n in (24, 48))
    work(VERBS[verb], small)  # what is imported and cached on first use
    assert work(VERBS[verb], large) < 2.15 * work(VERBS[verb], small)
