"""What benchmarks/kuairand.py writes about runs: tables, differences between pairs, the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kuairand as script
import lab
import pytest

PLACE = r"<!-- results: (\w+) -->"


def one(**auc: float) -> dict[str, Any]:
    """The metrics of a run."""
    tasks = {task: {"auc": value, "gauc": value / 2} for task, value in auc.items()}
    return {"tasks": tasks, "parameters": 1000, "rows_train": 20, "rows_valid": 10}


HOME = [one(a=0.70, b=0.60), one(a=0.72, b=0.61), one(a=0.71, b=0.62)]
BETTER = [one(a=0.711, b=0.61), one(a=0.732, b=0.60), one(a=0.723, b=0.63)]


def test_table_is_mean_and_deviation_over_seeds() -> None:
    assert list(script.table({"home": HOME}, "auc")) == [
        "| AUC | a | b | mean |",
        "| --- | ---: | ---: | ---: |",
        "| home | 0.7100 ± 0.0100 | 0.6100 ± 0.0100 | 0.6600 ± 0.0087 |",
    ]


def test_differences_are_those_of_pairs() -> None:
    """On `a` by 11, 12 and 13: far beyond 4.3 standard errors; on `b` by 10, -10 and 10."""
    lines = list(script.differences({"home": HOME, "other": BETTER}, "auc"))
    assert lines[0] == "| AUC - HoME's, in .001 | a | b | mean |"
    assert lines[2].startswith("| other | **+12.0 ± 1.0** | +3.3 ± 11.5 | ")
    assert len(lines) == 3


def test_one_seed_says_nothing_about_chance() -> None:
    lines = list(script.differences({"home": HOME[:1], "other": BETTER[:1]}, "auc"))
    assert lines[2] == "| other | +11.0 | +10.0 | +10.5 |"


def test_scale_sets_home_beside_boosting_and_floors() -> None:
    runs = [one(like=0.9, click=0.75, long_view=0.76, finish=0.84, hate=0.6)] * 2
    lines = list(script.scale({"home": runs}, "auc"))
    assert lines[0] == "| AUC | click | long_view | finish | like |"
    assert lines[2].startswith("| home | 0.7500 ± 0.0000 | 0.7600 ± 0.0000 | 0.8400")
    trees = script.BOOSTING["auc"]
    assert lines[3].startswith(f"| gradient boosting | {trees[0]:.4f} | {trees[1]:.4f} |")
    assert lines[4].startswith(f"| home - boosting, in .001 | {750 - 1000 * trees[0]:+.1f} |")
    assert lines[5] == "| floor | 0.745 | 0.745 | 0.830 | 0.870 |"
    assert len(list(script.scale({"home": runs}, "gauc"))) == 5  # floors are of the AUC


def test_pages_keep_what_is_around_their_blocks(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text(
        "before\n<!-- results: auc -->\nof earlier runs\n<!-- end -->\nbetween\n"
        "<!-- results: sizes -->\n<!-- end -->\nafter\n"
    )
    runs = [one(like=0.9, click=0.75, long_view=0.76, finish=0.84)] * 2
    text = lab.filled(page, script.blocks({"home": runs}, {"home": 128}))
    assert text.startswith("before\n<!-- results: auc -->\n2 seeds each; 20 rows to train on, 10 ")
    assert "|\n<!-- end -->\nbetween\n" in text
    assert text.endswith("| home | 128 | 1,000 |\n<!-- end -->\nafter\n")
    assert "of earlier runs" not in text


def test_every_table_has_its_place_on_a_page() -> None:
    runs = [one(like=0.9, click=0.75, long_view=0.76, finish=0.84)] * 2
    made = script.blocks({"home": runs}, {"home": 128})
    places = [name for page in script.PAGES for name in re.findall(PLACE, page.read_text("utf-8"))]
    assert sorted(places) == sorted(made)


def test_widths_fit_the_budget_to_one_per_cent() -> None:
    budget = script.parameters(script.MODELS["home"])
    for name in ("ple", "shared_bottom", "no_feature_gate"):
        case = script.MODELS[name].fitted(budget)
        assert script.parameters(case) == pytest.approx(budget, rel=0.01)


def test_a_run_is_done_again_for_another_model_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comments of a spec do not make another model; a change or another flag does."""
    (tmp_path / "prepared.json").write_text("{}")
    made: list[str] = []

    def train(command: list[str], **_: object) -> None:
        out = Path(command[command.index("--out") + 1])
        (out / "metrics.json").write_text("{}")
        made.append("--resume" if "--resume" in command else "--overwrite")

    monkeypatch.setattr(script.subprocess, "run", train)
    spec = tmp_path / "s.yaml"
    text = "homespec: 1\nname: s\nfamily: mmoe\nfeatures: {x: {dense: 2}}\ntasks: {a: {}}\n"
    for comment, changes in (("", ()), ("# why\n", ()), ("", ("experts.width=8",))):
        spec.write_text(comment + text)
        case = script.Case("s", str(spec), changes)
        script.run(case, 0, tmp_path, tmp_path / "out")
        script.run(case, 0, tmp_path, tmp_path / "out")
    assert made == ["--overwrite", "--overwrite"]
