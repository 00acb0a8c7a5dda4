"""benchmarks/gpu.py, which waits for a GPU: its commands are understood, and its aims judged."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from homespec.bench.variants import GRAPHS, VARIANTS
from homespec.cli.main import cli

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    return importlib.import_module("gpu")


def result(times: dict[str, float], **facts: Any) -> dict[str, Any]:
    """What `bench --json` writes, as far as it is read: milliseconds by variant."""
    ratios = {
        reference: {name: {"median": base / time} for name, time in times.items()}
        for reference, base in times.items()
    }
    milliseconds = {name: {"median": time} for name, time in times.items()}
    seen = {"skipped_graphs": 0, "synchronises": False, **facts}
    case = {"times_as_fast": {"step": ratios}, "milliseconds": {"step": milliseconds}}
    return {"complete": True, "cases": [{**case, "facts": dict.fromkeys(times, seen)}]}


@pytest.mark.skipif(torch.cuda.is_available(), reason="would measure")
def test_bench_understands_the_commands(suite: ModuleType, tmp_path: Path) -> None:
    """So far that nothing is missing but a GPU."""
    for size in suite.SIZES:
        arguments = suite.command(size, tmp_path / "x.json")[1:]
        if size.tasks:
            assert arguments[:3] == ["benchmarks/scaling.py", "--tasks", str(size.tasks)]
            arguments = ["-m", "homespec", "bench", *arguments[3:]]
        assert arguments[:2] == ["-m", "homespec"]
        done = CliRunner().invoke(cli, arguments[2:])
        assert done.exit_code == 2
        assert "--device" in done.output, done.output
        assert "GPU" in done.output
        assert any(VARIANTS[name].mode in GRAPHS for name in size.ours)
        assert (ROOT / "benchmarks" / "specs" / f"{size.spec}.yaml").exists()


def test_the_fastest_of_ours_is_judged(suite: ModuleType) -> None:
    industrial = next(size for size in suite.SIZES if size.name == "industrial")
    times = {"naive": 8.0, "naive-graphs": 3.0, "ours-graphs": 2.5, "ours-fused-graphs": 2.0}
    judged = list(suite.verdicts(industrial, result({**times, "floor": 1.0})))
    assert all(reached for reached, _ in judged)
    assert judged[0][1] == "industrial: ours-fused-graphs is 4.00 × as fast as naive, aim 3"
    judged = list(suite.verdicts(industrial, result({**times, "floor": 0.7})))
    assert [text for reached, text in judged if not reached] == [
        "industrial: ours-fused-graphs is 0.35 × as fast as floor, aim 0.4"
    ]


def test_waits_and_skipped_graphs_are_misses(suite: ModuleType) -> None:
    size = suite.SIZES[0]
    times = dict.fromkeys((*suite.PLAIN, *size.ours), 1.0)
    judged = suite.verdicts(size, result(times, skipped_graphs=2, synchronises=True))
    missed = [text for reached, text in judged if not reached]
    assert "public: ours-graphs ran 2 graphs without CUDA graphs" in missed
    assert "public: a step of ours-graphs waits" in missed


def test_what_was_cut_off_is_measured_again(suite: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    assert not suite.measured(file)
    file.write_text(json.dumps({"complete": False}), "utf-8")
    assert not suite.measured(file)
    file.write_text(json.dumps({"complete": True}), "utf-8")
    assert suite.measured(file)


def test_a_size_that_breaks_off_is_a_miss(
    suite: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    size, file = suite.SIZES[0], tmp_path / "x.json"
    monkeypatch.setattr(suite, "ran", lambda arguments: False)
    assert not suite.reached(size, file)
    assert capsys.readouterr().out == "public: not measured\n"
    times = {"naive": 9.0, "naive-graphs": 2.0, **dict.fromkeys(size.ours, 1.0)}
    file.write_text(json.dumps(result(times)), "utf-8")
    assert suite.reached(size, file)
    assert "reached public: ours-graphs is 9.00 × as fast as naive" in capsys.readouterr().out
