"""Summaries: every cost is in one row, and rows say what the graph says."""

from __future__ import annotations

import functools
import operator
from pathlib import Path

import pytest
import yaml
from hierarchies import random_spec

import homespec
from homespec.analysis.costs import Cost
from homespec.analysis.summary import Summary, summarise

HERE = Path(__file__).parent


def origins() -> Summary:
    return summarise(homespec.load(HERE / "origins.yaml").analysis)


def total(costs: list[Cost]) -> Cost:
    return functools.reduce(operator.add, costs, Cost())


@pytest.mark.parametrize("seed", range(30))
def test_rows_and_parts_add_up(seed: int) -> None:
    text = yaml.safe_dump(random_spec(seed), sort_keys=False)
    summary = summarise(homespec.loads(text).analysis)
    rows = [row.cost for row in (*summary.features, *summary.towers)]
    for layer in summary.layers:
        rows += [row.cost for row in (*layer.sets, *layer.states)]
    assert total(rows) == total(list(summary.parts.values())) == summary.total


def test_tree() -> None:
    assert origins().tree == {
        "watch": {"click": None, "finish": None},
        "interaction": {"social": {"follow": None, "comment": None}, "like": None},
    }


def test_features() -> None:
    rows = [(row.name, row.column, row.kind, row.rows, row.width) for row in origins().features]
    assert rows == [
        ("user_id", "uid", "hashed id", 101, 8),
        ("on", "on", "bucketize", 5, 4),
        ("asr", "asr", "dense", 0, 16),
    ]


def test_what_a_gate_sees_and_reads() -> None:
    meta, meta2, task = origins().layers
    assert [layer.name for layer in (meta, meta2, task)] == ["meta", "meta2", "task"]
    seen = {row.node: (row.mixes, row.gate_reads) for row in (*meta2.states, *task.states)}
    path = ("interaction (gated)", "shared (gated)")
    assert seen["social"] == ({"shared": 1, "interaction": 2}, path)
    sets = {"shared": 2, "interaction": 2, "social": 2, "follow": 2}
    assert seen["follow"] == (sets, ("social", "interaction", "shared"))
    assert meta.states[0].gate_reads == ("v",)
    assert meta.states[0].self_gates == ("shared",)
    assert task.states[0].self_gates == ()


def test_sets() -> None:
    meta, meta2, task = origins().layers
    assert [row.node for row in meta2.sets] == ["shared", "watch", "interaction"]
    watch = meta.sets[1]
    assert (watch.count, watch.norm, watch.activation) == (1, "layer", "relu")
    assert (watch.reads, watch.self_gate) == ("v", (28, 1))
    like = task.sets[-1]
    assert (like.node, like.reads, like.self_gate) == ("like", "interaction", None)
    assert like.feature_gate is not None
    assert (like.feature_gate.loras, like.feature_gate.rank) == (3, 5)
