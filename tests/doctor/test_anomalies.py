"""benchmarks/anomalies.py: its cases, its measures on synthetic rows, its tables and figures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import anomalies
import anomaly_page
import kuairand
import pytest

from examples.kuairand import synthesize
from examples.kuairand.prepare import prepare


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anomalies")
    synthesize.write(synthesize.generate(seed=0, rows=1500), folder / "log")
    prepare(folder / "log", folder / "prepared")
    return folder / "prepared"


def test_a_run_is_measured_at_the_start_and_trained_and_only_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--batch-size", "128", "--lr", "1e-2", "--no-compile")
    case = replace(kuairand.MODELS["ple"], changes=(kuairand.hidden(8),), flags=flags)
    monkeypatch.setattr(anomalies, "OPTIONS", anomalies.Options(64))
    found = anomalies.examined(case, 0, data, tmp_path)
    start, trained = found["start"], found["trained"]
    assert len(trained["zeros"]) == 2 * (4 + 10)
    assert 0.2 < min(start["zeros"]) <= max(start["zeros"]) < 1  # ReLU
    assert start["mean_abs"] != trained["mean_abs"]
    assert trained["tasks"]["click"]["own_contribution"] > 0
    assert "NaN" not in json.dumps(found)

    def refuse(*_: object) -> None:
        raise AssertionError("examined again")

    monkeypatch.setattr(anomalies, "examine", refuse)
    assert json.loads(json.dumps(found)) == anomalies.examined(case, 0, data, tmp_path)


def test_norms_of_an_untrained_model_have_statistics_of_the_data(data: Path) -> None:
    model = anomalies.untrained(kuairand.MODELS["home"], 0, data).model
    means = [value for name, value in model.state_dict().items() if name.endswith("running_mean")]
    assert means
    assert all(mean.any() for mean in means)
    assert not model.training


def test_cases_have_the_parameters_of_home() -> None:
    budget = kuairand.parameters(kuairand.MODELS["home"])
    cases = {case.name: case for case, seed in anomalies.jobs(1, 1)}
    for name in ("ple_torch", "mmoe_home_experts", "home_relu", "ple_lr_16"):
        assert kuairand.parameters(cases[name]) == pytest.approx(budget, rel=0.01)
    assert kuairand.parameters(cases["ple_wide"]) > budget


def state(zeros: list[float]) -> anomalies.Json:
    task = {"auc": 0.7, "gauc": 0.6, "rate": 0.1, "own_weight": 0.5, "own_contribution": 0.4,
            "own_gradient": 1.0, "without_own": 0.02}  # fmt: skip
    lists = ("dead_channels", "mean_abs", "similarity", "owned", "evenness")
    seen = {"zeros": zeros, **{name: [0.5] for name in lists}, "tasks": {"click": task}}
    return {**seen, "scale_ratio": 1.0, "perplexity": 0.9, "spread": None, "findings": {"a": 1}}


def test_tables_have_means_over_seeds_before_and_after() -> None:
    runs = [{"start": state([0.5, 0.1]), "trained": state([0.95, zeros])} for zeros in (0.3, 0.91)]
    lines = list(anomaly_page.table({"ple_lr_16": runs}, anomaly_page.COLLAPSE))
    assert lines[2].startswith("| PLE, 16 × lr | 2 | 0.3 → 0.777 | 0.5 → 0.95 | 0 → 1.5 |")
    assert list(anomaly_page.tasks({"ple": runs}, ["ple"]))[2:] == ["| click | 10 % | 0.4 | 2 % |"]
    assert list(anomaly_page.findings({"ple": runs}))[2:] == ["| PLE | 1 |"]


def test_figures_and_page_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "anomalies.md"
    page.write_text("before\n<!-- results: collapse -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(anomaly_page, "PAGES", [page])
    monkeypatch.setattr(anomaly_page, "PLOTS", tmp_path)
    runs = [{"start": state([0.5]), "trained": state([0.9])}]
    anomaly_page.write({"ple": runs, "home": runs, "ple_deep": runs})
    text = page.read_text()
    assert text.startswith("before\n<!-- results: collapse -->\n| model | seeds | zeros, mean |")
    assert text.endswith("|\n<!-- end -->\nafter\n")
    assert "old" not in text
    drawn = {path.name for path in tmp_path.glob("*.svg")}
    assert drawn == {f"anomalies-{name}.svg" for name in ("collapse", "sharing", "harder")}


def test_every_table_has_its_place_on_a_page() -> None:
    texts = [page.read_text("utf-8") for page in anomaly_page.PAGES]
    places = [name for text in texts for name in re.findall(r"<!-- results: (\w+) -->", text)]
    assert sorted(places) == sorted(anomaly_page.blocks({}))
