"""Expanded specs: valid, the same graph, and every value with the line that gives it."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hierarchies import Spec, random_spec, specs
from hypothesis import given, settings
from hypothesis import strategies as st
from regularised_specs import with_dropout
from topologies import random_family, random_topology, topologies

import homespec
from homespec.analysis.expand import expanded
from homespec.analysis.yaml_writer import COMMENTS, Line, flow, write
from homespec.api import LoadedSpec
from homespec.diagnostics import Position, Span
from homespec.graph.nodes import Node
from homespec.source import parse
from homespec.source.reader import FORBIDDEN

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "specs").glob("*.yaml"))
NOWHERE = Span("", Position(1, 1), Position(1, 1))


def nodes(loaded: LoadedSpec) -> list[Node]:
    """The graph without its spans."""
    return [dataclasses.replace(node, span=NOWHERE) for node in loaded.analysis.graph]


def check(loaded: LoadedSpec) -> LoadedSpec:
    again = homespec.loads(expanded(loaded.analysis))
    assert nodes(again) == nodes(loaded)
    return again


def code(loaded: LoadedSpec, optimize: bool) -> list[str]:
    """The generated code without its header and its comments, some of which name lines."""
    file = ast.parse(homespec.compile(loaded, optimize=optimize))
    file.body = file.body[1:]
    return ast.unparse(file).splitlines()


def from_data(spec: Spec) -> LoadedSpec:
    return homespec.loads(yaml.safe_dump(spec, sort_keys=False))


@pytest.mark.parametrize("seed", range(150))
def test_same_graph(seed: int) -> None:
    check(from_data(random_spec(seed)))


@pytest.mark.parametrize("seed", range(12))
def test_same_graph_with_dropout(seed: int) -> None:
    """Of features, too, each its own or that of the spec."""
    check(from_data(with_dropout(random_spec(seed), seed)))


@pytest.mark.parametrize("draw", [random_family, random_topology])
@pytest.mark.parametrize("seed", range(60))
def test_same_graph_of_families_and_layers(seed: int, draw: Callable[[int], Spec]) -> None:
    loaded = from_data(draw(seed))
    again = check(loaded)
    assert "family" not in again.model_fields_set
    if seed % 4 == 0:  # the slow part
        assert code(again, seed % 8 == 0) == code(loaded, seed % 8 == 0)


@settings(max_examples=50)
@given(spec=st.one_of(specs(), topologies()))
def test_same_graph_drawn(spec: Spec) -> None:
    check(from_data(spec))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_specs(path: Path, tmp_path: Path) -> None:
    loaded = homespec.load(path)
    again = check(loaded)
    assert again.model_dump(include={"description"}) == loaded.model_dump(include={"description"})
    (tmp_path / path.name).write_text(expanded(loaded.analysis))
    diagnostics = homespec.validate(tmp_path / path.name).diagnostics
    ignored = loaded.analysis.diagnostics  # comments are not carried over
    assert [d.message for d in diagnostics] == [d.message for d in ignored]


def values(text: str) -> list[str]:
    """The lines without their comments."""
    return [line.split("  # ")[0].rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("seed", range(20))
def test_twice_says_nothing_new(seed: int) -> None:
    once = expanded(from_data(random_spec(seed)).analysis)
    twice = expanded(homespec.loads(once).analysis)
    assert values(once) == values(twice)
    shown = [line for line in twice.splitlines() if "default" in line.split("  # ")[-1]]
    assert all("rate: unknown" in line for line in shown)


def test_every_origin(golden: Callable[[Path, str], None]) -> None:
    """Short forms, inheritance at every level, exceptions, switches, and what is nowhere given."""
    spec = homespec.load(Path(__file__).parent / "origins.yaml")
    text = expanded(spec.analysis).replace(str(Path(__file__).parent) + "/", "")
    golden(Path(__file__).parent / "origins.out", text)


def read(text: str) -> object:
    document = parse(f"value: {text}\n", "x.yaml")
    assert document.data is not None, document.diagnostics
    return document.data["value"]


plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
written = st.one_of(
    plain,
    st.integers(-(10**20), 10**20),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["on", "null", "1e3", "0x1f", "- a", "a: b", "a #b", "", "~", "a >= b", ".5"]),
)


@settings(max_examples=500)
@given(value=st.one_of(written, st.lists(written, max_size=5)))
def test_values_are_read_back(value: object) -> None:
    assert read(flow(value)) == value


def test_characters_that_specs_forbid_are_escaped() -> None:
    forbidden = "".join(c for c in map(chr, range(0x11000)) if FORBIDDEN.match(c))
    text = "".join(c for c in forbidden if not "\ud800" <= c <= "\udfff")
    assert len(text) > 50
    assert read(flow(text)) == text


@given(value=st.one_of(plain.map(lambda t: t * 9), st.lists(st.integers(), max_size=60)))
def test_long_values_are_read_back(value: object) -> None:
    text = "\n".join(write([Line("value", value, "line 1")]))
    document = parse(text, "x.yaml")
    assert document.data == {"value": value}


def test_comments_stand_below_each_other() -> None:
    lines = list(write([Line("a", 1, "one"), Line("hidden", [1, 2], "two")]))
    assert [line.index("#") for line in lines] == [COMMENTS + 2] * 2
