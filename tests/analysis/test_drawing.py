"""Drawings of graphs: golden files, and what holds for every graph."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hierarchies import random_spec

import homespec
from homespec.analysis.expand import expanded
from homespec.drawing import FORMATS, as_dot, as_json, as_mermaid, as_text
from homespec.drawing.boxes import picture
from homespec.graph import Graph
from homespec.passes import optimise

HERE = Path(__file__).parent
LAYOUTS: dict[str, Callable[[Graph], Graph]] = {"plain": lambda g: g, "optimised": optimise}
SEEDS = range(25)

Layout = pytest.mark.parametrize("layout", LAYOUTS)


def drawn(seed: int, layout: str) -> Graph:
    text = yaml.safe_dump(random_spec(seed), sort_keys=False)
    return LAYOUTS[layout](homespec.loads(text).analysis.graph)


@Layout
@pytest.mark.parametrize("form", FORMATS)
def test_golden(
    form: str,
    layout: str,
    golden: Callable[[Path, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(HERE)
    graph = LAYOUTS[layout](homespec.load("origins.yaml").analysis.graph)
    golden(HERE / "drawings" / f"origins.{layout}.{form}", FORMATS[form](graph))


@Layout
def test_text_has_a_line_for_each_node(layout: str) -> None:
    for seed in SEEDS:
        graph = drawn(seed, layout)
        lines = [line for line in as_text(graph).splitlines() if not line.startswith("  ")]
        assert [line.split(" = ")[0] for line in lines] == [node.name for node in graph]


def test_text_speaks_of_the_model_alone() -> None:
    """Not of lines and defaults: the expanded spec has the same text."""
    for seed in SEEDS:
        loaded = homespec.loads(yaml.safe_dump(random_spec(seed), sort_keys=False))
        again = homespec.loads(expanded(loaded.analysis))
        assert as_text(again.analysis.graph) == as_text(loaded.analysis.graph)


@Layout
def test_json_is_json(layout: str) -> None:
    for seed in SEEDS:
        graph = drawn(seed, layout)
        data = json.loads(as_json(graph))
        assert [node["name"] for node in data["nodes"]] == [node.name for node in graph]
        read = {port.partition("[")[0] for node in data["nodes"] for port in node["reads"]}
        assert read <= {node["name"] for node in data["nodes"]}


@Layout
def test_pictures_are_connected(layout: str) -> None:
    for seed in SEEDS:
        graph = drawn(seed, layout)
        boxes, arrows = picture(graph).boxes, picture(graph).arrows
        names = {box.name for box in boxes}
        assert {a.start for a in arrows} | {a.end for a in arrows} == names
        assert names - {a.end for a in arrows} == {"input"}
        towers = {box.name for box in boxes if box.kind == "tower"}
        assert names - {a.start for a in arrows} == towers
        weak = {(a.start, a.end) for a in arrows if a.weak}
        assert not weak & {(a.start, a.end) for a in arrows if not a.weak}


@Layout
def test_mermaid_and_dot_declare_each_box_once(layout: str) -> None:
    for seed in SEEDS:
        graph = drawn(seed, layout)
        names = sorted(box.name for box in picture(graph).boxes)
        ids = re.findall(r'^ +(\w+)[(\[]+/?"', as_mermaid(graph), re.M)
        assert sorted(ids) == sorted(name.replace(".", "_") for name in names)
        assert len(set(ids)) == len(ids)
        assert sorted(re.findall(r'^ +"([^"]+)" \[label=', as_dot(graph), re.M)) == names
