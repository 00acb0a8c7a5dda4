"""`evaluate`: the metrics are those of training, of whole files, tasks and slices."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import homespec
from homespec.cli.main import cli
from homespec.data import DataError
from homespec.scoring import slices
from homespec.scoring.slices import Slicer
from homespec.train import RunError, metrics, run
from homespec.train.settings import Settings

METRICS = ("rate", "auc", "gauc", "logloss", "pcoc", "mae", "rmse")


def run_cli(*words: object) -> Any:
    return CliRunner().invoke(cli, ["evaluate", *map(str, words)])


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Each metric of each task, to the bit."""
    for task, own in wanted.items():
        assert {m: found[task][m] for m in METRICS} == {m: own[m] for m in METRICS}, task


# ---------------------------------------------------------------- the metrics of training


def test_on_the_held_out_rows_they_are_those_of_training(trained: Path, valid: Path) -> None:
    stored = json.loads((trained / "metrics.json").read_text())
    found = homespec.evaluate(trained, valid, gauc_by="user_id").as_json()
    same(found["tasks"], stored["tasks"])
    assert (found["spec"], found["rows"]) == ("mixed", 500)
    assert found["spec_sha256"] == stored["spec_sha256"]
    assert found["epoch"] == stored["best_epoch"]
    assert found["data"] == [str(valid)]


@pytest.mark.parametrize("changed", [{"optimize": False}, {"merge_tables": False}])
def test_with_the_layout_of_the_run(
    folder: Path, valid: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    settings = Settings(**{"batch_size": 96, "compile": False, "limit_rows": 500} | changed)
    spec = homespec.load(folder / "run" / "spec.yaml")
    run.train(spec, run.Place([folder / "data"], tmp_path), settings, lambda line: None)
    stored = json.loads((tmp_path / "metrics.json").read_text())
    same(homespec.evaluate(tmp_path, valid).as_json()["tasks"], stored["tasks"])


def test_the_last_checkpoint(trained: Path, valid: Path) -> None:
    stored = json.loads((trained / "metrics.json").read_text())
    last = homespec.evaluate(trained, valid, gauc_by="user_id", checkpoint="last").as_json()
    epochs = stored["history"]
    of_task = {task: dict.fromkeys(METRICS) | own for task, own in epochs[-1]["tasks"].items()}
    same(last["tasks"], of_task)
    assert (last["epoch"], last["step"]) == (2, epochs[-1]["step"])


def test_it_does_not_matter_how_rows_are_cut(
    trained: Path, valid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from homespec.scoring import rows

    whole = homespec.evaluate(trained, valid, by="scene").as_json()
    monkeypatch.setattr(rows, "SLAB_ROWS", 64)
    for number, low in enumerate(range(0, 500, 90)):
        pq.write_table(pq.read_table(valid)[low : low + 90], tmp_path / f"{number}.parquet")
    parts = homespec.evaluate(trained, tmp_path, by="scene").as_json()
    assert parts["tasks"] == whole["tasks"]
    assert parts["slices"] == whole["slices"]


# ---------------------------------------------------------------- rows and labels


def test_counts_and_intervals(trained: Path, valid: Path) -> None:
    found = homespec.evaluate(trained, valid)
    table = pq.read_table(valid)
    click, cart = (np.array(table[c].cast(pa.float64())) for c in ("is_click", "is_cart"))
    assert found.tasks["click"].rows == (~np.isnan(click)).sum() < 500
    assert found.tasks["click"].positives == np.nansum(click)
    inside = (click == 1) & ~np.isnan(cart)  # the samples of `cart`
    assert found.tasks["cart"].rows == inside.sum()
    assert found.tasks["cart"].positives == cart[inside].sum()
    assert found.tasks["ctcvr"].rows == (~np.isnan(cart)).sum()
    assert found.tasks["watch"].positives is None
    for name, own in found.tasks.items():
        for metric, (low, high) in own.intervals.items():
            assert low < getattr(own, metric) < high, (name, metric)
    assert set(found.tasks["click"].intervals) == {"auc", "logloss", "pcoc"}
    users = homespec.evaluate(trained, valid, gauc_by="user_id").tasks["click"]
    assert set(users.intervals) == {"auc", "gauc", "logloss", "pcoc"}
    assert users.intervals["auc"] != found.tasks["click"].intervals["auc"]


def test_a_row_without_a_label_counts_for_the_other_tasks(
    trained: Path, valid: Path, tmp_path: Path
) -> None:
    table = pq.read_table(valid)
    none = pa.nulls(500, pa.int8())
    at = table.column_names.index("is_click")
    pq.write_table(table.set_column(at, "is_click", none), tmp_path / "in.parquet")
    found = homespec.evaluate(trained, tmp_path / "in.parquet").tasks
    assert (found["click"].rows, found["click"].positives) == (0, 0)
    assert math.isnan(found["click"].auc)
    assert found["cart"].rows == 0  # none of its samples is known
    assert found["watch"] == homespec.evaluate(trained, valid).tasks["watch"]


def test_some_tasks_need_no_labels_of_others(trained: Path, valid: Path, tmp_path: Path) -> None:
    whole = homespec.evaluate(trained, valid).tasks
    pq.write_table(pq.read_table(valid).drop_columns(["play_ms"]), tmp_path / "in.parquet")
    with pytest.raises(DataError, match="task `watch` wants the column `play_ms`"):
        homespec.evaluate(trained, tmp_path / "in.parquet")
    found = homespec.evaluate(trained, tmp_path / "in.parquet", tasks=["cart"]).tasks
    assert list(found) == ["cart"]
    assert found["cart"] == whole["cart"]  # its samples are those with a click


def test_files_without_rows(trained: Path, valid: Path, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(valid)[:0], tmp_path / "none.parquet")
    with pytest.raises(DataError, match=r"none\.parquet has no rows"):
        homespec.evaluate(trained, tmp_path / "none.parquet")


# ---------------------------------------------------------------- slices


def test_a_slice_is_measured_as_its_rows_alone(trained: Path, valid: Path, tmp_path: Path) -> None:
    found = homespec.evaluate(trained, valid, gauc_by="user_id", by=["scene", "tab"])
    scenes = found.slices["scene"]
    assert [each.value for each in scenes] == ["feed", "profile", "search", None]
    assert sum(each.rows for each in scenes) == 500
    assert [each.value for each in found.slices["tab"]] == [0, 1, 2, 3, 4, None]
    scored = homespec.predict(trained, valid, keep=["scene", "is_click"], output="logits").table()
    for each in scenes:
        own = np.array([scene == each.value for scene in scored["scene"].to_pylist()])
        score, label = (np.array(scored[c].cast(pa.float64()))[own] for c in ("click", "is_click"))
        assert each.rows == own.sum()
        assert each.tasks["click"].rows == (~np.isnan(label)).sum()
        assert each.tasks["click"].auc == pytest.approx(metrics.auc(score, label), abs=1e-3)
        assert each.tasks["click"].logloss == pytest.approx(
            metrics.log_loss(score, label), rel=1e-4
        )
    content = found.as_json()["slices"]["scene"]
    assert content[-1]["value"] is None
    assert content[0]["tasks"]["click"]["rows"] == scenes[0].tasks["click"].rows


def collected(cells: pa.Array, pieces: int = 3) -> dict[Any, list[int]]:
    slicer = Slicer("c", cells.type)
    for low in range(0, len(cells), pieces):
        slicer.add(pa.chunked_array([cells[low : low + pieces]]))
    return {value: at.tolist() for value, at in slicer.slices()}


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (pa.array(["b", "a", None, "b", "NULL"]), {"a": [1], "b": [0, 3], None: [2, 4]}),
        (pa.array(["10", "9", "x"]), {"9": [1], "10": [0], "x": [2]}),
        (pa.array(["2", "NAN", "1", "1.0"]), {"1": [2], "1.0": [3], "2": [0], "NAN": [1]}),
        (pa.array([2, 1, 2, None]), {1: [1], 2: [0, 2], None: [3]}),
        (pa.array([0.5, math.nan, -1.0]), {-1.0: [2], 0.5: [0], None: [1]}),
        (pa.array([True, False, None]), {False: [1], True: [0], None: [2]}),
        (pa.array(["a", "b", "a"]).dictionary_encode(), {"a": [0, 2], "b": [1]}),
        (pa.array([0, 86_400], pa.timestamp("s")).cast(pa.date32()),
         {"1970-01-01": [0], "1970-01-02": [1]}),
        (pa.nulls(3), {None: [0, 1, 2]}),
    ],
)  # fmt: skip
def test_values_of_slices(cells: pa.Array, wanted: dict[Any, list[int]]) -> None:
    found = collected(cells)
    assert found == wanted
    assert list(found) == list(wanted)


def test_slices_have_a_limit(trained: Path, valid: Path) -> None:
    assert len(collected(pa.array(range(slices.MAX_SLICES)))) == slices.MAX_SLICES
    with pytest.raises(DataError, match="`c` has more than 100 values, the maximum of --by"):
        collected(pa.array([*range(slices.MAX_SLICES), None]))
    with pytest.raises(DataError, match="`request` has more than 100 values"):
        homespec.evaluate(trained, valid, by="request")
    with pytest.raises(DataError, match=r"`history_video_id` is list<.*, but --by needs one value"):
        homespec.evaluate(trained, valid, by="history_video_id")


# ---------------------------------------------------------------- the command


def test_the_command(trained: Path, valid: Path, tmp_path: Path) -> None:
    out = tmp_path / "metrics.json"
    result = run_cli(trained, "--data", valid, "--gauc-by", "user_id", "--by", "scene",
                     "--json", out)  # fmt: skip
    assert result.exit_code == 0, result.output
    found = homespec.evaluate(trained, valid, gauc_by="user_id", by="scene")
    assert json.loads(out.read_text()) == found.as_json()
    lines = [line.split() for line in result.stdout.splitlines()]
    click = found.tasks["click"]
    low, high = click.intervals["auc"]
    shown = [f"{click.auc:.4f}", f"[{low:.4f},", f"{high:.4f}]"]
    assert ["mixed", "rows", "positives", "rate", "AUC", "GAUC", "logloss", "PCOC"] in lines
    line = next(line for line in lines if line[:1] == ["click"])
    assert line[1:7] == [f"{click.rows}", f"{click.positives}", f"{click.rate:.2%}", *shown]
    assert ["regression", "rows", "mean", "label", "MAE", "RMSE", "PCOC"] in lines
    assert [
        "mixed",
        "scene",
        "rows",
        "positives",
        "rate",
        "AUC",
        "GAUC",
        "logloss",
        "PCOC",
    ] in lines
    assert any(line[:1] == ["missing"] for line in lines)
    assert "as if users were drawn independently" in result.stdout
    assert f"step {found.step}, in {trained}" in result.stdout
    assert "500 rows in " in result.stderr


def test_json_on_stdout(trained: Path, valid: Path) -> None:
    result = run_cli(trained, "--data", valid, "--tasks", "click", "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["tasks"].keys() == {"click"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--by", "request"], "error: the column `request` has more than 100 values"),
        (["--by", "scne"], "--by wants the column `scne` (did you mean `scene`?)"),
        (["--gauc-by", "usr"], "--gauc-by wants the column `usr`"),
        (["--json", "{tmp}/file/x.json"], "file/x.json cannot be written"),
        (["--tasks", "x"], "Invalid value for '--tasks'"),
    ],
)
def test_mistakes_end_with_2_and_one_line(
    trained: Path, valid: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "file").touch()
    given = [word.format(tmp=tmp_path) for word in words]
    result = run_cli(trained, "--data", valid, *given)
    assert result.exit_code == 2
    assert message in result.stderr


def test_users_that_are_no_ids(trained: Path, valid: Path) -> None:
    """`check-data` is not named: it looks at the columns of the spec."""
    result = run_cli(trained, "--data", valid, "--gauc-by", "history_video_id")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        f"error: {valid}: --gauc-by: the column `history_video_id` is list<element: int64>;"
        " ids are integers or text"
    )


def test_weights_alone_will_do(trained: Path, valid: Path, tmp_path: Path) -> None:
    """What a run leaves for a server: no checkpoints."""
    for name in ("model.safetensors", "metrics.json", "spec.yaml"):
        shutil.copy(trained / name, tmp_path / name)
    found = homespec.evaluate(tmp_path, valid, gauc_by="user_id")
    assert found.tasks == homespec.evaluate(trained, valid, gauc_by="user_id").tasks
    assert (found.epoch, found.step) == (None, None)


@pytest.mark.parametrize("settings", [[], {"batch_size": "x"}])
def test_metrics_that_are_damaged_are_named(
    trained: Path, valid: Path, tmp_path: Path, settings: Any
) -> None:
    for name in ("model.safetensors", "spec.yaml"):
        shutil.copy(trained / name, tmp_path / name)
    (tmp_path / "metrics.json").write_text(json.dumps({"settings": settings}))
    with pytest.raises(RunError, match=r"the settings in .*metrics\.json cannot be used"):
        homespec.evaluate(tmp_path, valid)


def test_a_run_that_has_not_ended(trained: Path, valid: Path, tmp_path: Path) -> None:
    """It has checkpoints, and neither metrics.json nor weights of its own."""
    for name in ("checkpoints", "spec.yaml"):
        copy = shutil.copytree if (trained / name).is_dir() else shutil.copy
        copy(trained / name, tmp_path / name)
    found = homespec.evaluate(tmp_path, valid, gauc_by="user_id")
    assert found.tasks == homespec.evaluate(trained, valid, gauc_by="user_id").tasks
