"""`homespec doctor` on the folder of a run: tables, findings, JSON, exit codes, messages."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
from click.testing import CliRunner, Result
from planted import SPEC, Plant, State, diagnosed, planted

from homespec.cli.doctor_tables import tables
from homespec.cli.main import cli
from homespec.diagnostics.render import FORMATS
from homespec.doctor.examine import Options
from homespec.health.as_json import json_schema
from homespec.health.compare import MEASURES
from homespec.health.measures import Effect, Knockout
from homespec.health.tables import verdict


def write_run(folder: Path, plant: Plant) -> Path:
    """The folder of a run, and in it its rows."""
    run, rows = planted(plant)
    folder.mkdir()
    (folder / "spec.yaml").write_text(SPEC)
    safetensors.torch.save_file(
        {name: t.contiguous() for name, t in run.module.logical_state(run.model).items()},
        folder / "model.safetensors",
    )
    tasks = {task: {"auc": 0.75, "rate": 0.5, "labelled": 1000} for task in run.module.TASKS}
    (folder / "metrics.json").write_text(json.dumps({"tasks": tasks}))
    features = rows.batch.features
    columns = {task: label.long().tolist() for task, label in rows.batch.labels.items()}
    table = pa.table(
        {"numbers": features["numbers"].tolist(), "place": features["place"].tolist(), **columns}
    )
    pq.write_table(table, folder / "rows.parquet")
    return folder


def constant_gate(state: State) -> None:
    state["gates.task.like.linears.0.weight"].zero_()


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("sick") / "sick", constant_gate)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("healthy") / "healthy", lambda state: None)


def doctor(run: Path, *arguments: str, data: Path | None = None) -> Result:
    rows = str(data or run / "rows.parquet")
    given = ["doctor", str(run), "--data", rows, *arguments]
    return CliRunner().invoke(cli, given, standalone_mode=False)


def test_findings_are_at_the_line_of_the_spec(sick: Path) -> None:
    result = doctor(sick, "--format", "concise")
    assert result.return_value == 0
    line = next(i for i, text in enumerate(SPEC.splitlines(), 1) if text.startswith("  like:"))
    assert f"{sick / 'spec.yaml'}:{line}:3: warning[HS731]" in result.output
    for table in ("expert", "task", "gate", "feature gate", "without"):
        assert f"\n  {table} " in result.output


def test_warnings_fail_under_strict(sick: Path, healthy: Path) -> None:
    assert doctor(sick, "--strict", "--rows", "3000").return_value == 1
    assert doctor(healthy, "--strict", "--rows", "3000").return_value == 0


@pytest.mark.parametrize("form", FORMATS)
def test_all_formats(sick: Path, form: str) -> None:
    result = doctor(sick, "--format", form, "--rows", "1000", "--threshold", "negligible=0.01")
    assert result.exception is None
    assert "constant-gate" in result.output or "HS731" in result.output
    if form in ("json", "sarif", "gitlab"):
        json.loads(result.output)


def test_json_follows_its_schema(sick: Path, tmp_path: Path) -> None:
    file = tmp_path / "health.json"
    assert doctor(sick, "--json", str(file)).exception is None
    content = json.loads(file.read_text())
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(content, json_schema())
    (run,) = content["runs"]
    assert run["rows"] == 4000
    assert [task["name"] for task in run["tasks"]] == ["click", "finish", "like", "follow"]
    assert run["tasks"][0]["trained_positives"] == 500
    assert [found["rule"] for found in content["findings"]] == ["constant-gate"]
    assert content["findings"][0]["about"] == ["gates.task.like"]
    assert content["loss_changes"] == []
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "runs": [{**run, "rows": "many"}]}, json_schema())


def test_two_runs_side_by_side(sick: Path, healthy: Path, tmp_path: Path) -> None:
    file, html = tmp_path / "both.json", tmp_path / "both.html"
    result = doctor(
        sick, "--against", str(healthy), "--rows", "1000", "--sample-rows", "0",
        "--json", str(file), "--html", str(html),
    )  # fmt: skip
    for words in ("Beside healthy", "Changes of losses in % of them", "Findings of one of them"):
        assert words in html.read_text()
    assert "sick" in result.output
    assert "healthy" in result.output
    for what in (*MEASURES, "loss", "AUC", "own contribution / fair"):
        assert what in result.output
    content = json.loads(file.read_text())
    jsonschema.validate(content, json_schema())
    changes = {change["task"]: change for change in content["loss_changes"]}
    one, other = content["runs"]
    for task, other_task in zip(one["tasks"], other["tasks"], strict=True):
        change = changes[task["name"]]
        assert change["change"] == pytest.approx(task["loss"] - other_task["loss"], abs=1e-6)
        assert change["low"] <= change["change"] <= change["high"]
        words = verdict(Effect(**change))
        assert re.search(rf"^ +{task['name']} .* {words} ", result.output, re.MULTILINE)
    assert one["experts"][0]["zeros"] == other["experts"][0]["zeros"]
    gate = next(i for i, g in enumerate(one["gates"]) if g["name"] == "gates.task.like")
    assert one["gates"][gate]["variance_rows"] < 1e-12 < other["gates"][gate]["variance_rows"]


def test_a_finding_can_be_ignored(sick: Path, tmp_path: Path) -> None:
    spec = tmp_path / "own.yaml"
    comment = "# homespec: ignore-file[constant-gate] a gate of one task, on purpose\n"
    spec.write_text(comment + SPEC)
    assert doctor(sick, "--spec", str(spec), "--strict").return_value == 0
    validated = CliRunner().invoke(cli, ["validate", "--strict", str(spec)], standalone_mode=False)
    assert validated.return_value == 0  # the ignore is not called unused


def test_mistakes_are_one_line(sick: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    no_run = doctor(tmp_path / "empty", data=sick / "rows.parquet")
    assert "holds no run of homespec train" in no_run.output
    old = tmp_path / "old"
    shutil.copytree(sick, old)
    (old / "spec.yaml").unlink()
    assert "name the spec of the run (--spec" in doctor(old).output
    no_rows = doctor(sick, data=tmp_path / "none.parquet")
    assert "none.parquet does not exist" in no_rows.output
    wrong = doctor(sick, "--threshold", "zeroes=0.5")
    assert "did you mean zeros?" in str(wrong.exception)
    none = doctor(sick, "--threshold", "zeros=many")
    assert "is not of the form NAME=VALUE" in str(none.exception)
    columns = tmp_path / "other.parquet"
    pq.write_table(pa.table({"numbers": [[1.0] * 8]}), columns)
    assert "lacks columns" in doctor(sick, data=columns).output


def test_no_number_is_cut_short_however_many_tasks_there_are() -> None:
    _, health, _ = diagnosed(lambda state: None, options=Options(sample_rows=0))
    names = [f"a_task_of_a_long_name_{number}" for number in range(60)]
    tasks = tuple(replace(health.tasks[0], name=name, judged=True) for name in names)
    effects = tuple(Effect(name, 0.01, 0.005, 0.015) for name in names)
    knockouts = tuple(Knockout("without_expert", e.name, "", effects) for e in health.experts)
    text = tables(replace(health, tasks=tasks, knockouts=knockouts), color=False)
    (head,) = (line for line in text.splitlines() if line.startswith("  without "))
    assert head.split() == ["without", *names]
    change = f"{100 * effects[0].by(tasks[0].loss).change:+.2f}"
    assert text.count(change) == 60 * len(health.experts)
    assert "…" not in text


@pytest.mark.parametrize("row", [7, 2500])
def test_a_row_without_a_prediction_is_named(healthy: Path, tmp_path: Path, row: int) -> None:
    """Its losses would be NaN, and rows whose loss is NaN count as rows without a label."""
    rows = pq.read_table(healthy / "rows.parquet")
    numbers = rows["numbers"].to_pylist()
    numbers[row] = [3e38] * 8
    file = tmp_path / "rows.parquet"
    pq.write_table(rows.set_column(0, "numbers", pa.array(numbers)), file)
    result = doctor(healthy, data=file)
    assert isinstance(result.exception, SystemExit)
    assert result.exception.code == 2
    assert f"row {row} (from 0) of the held-out rows: the logit of `click` is" in result.output


def test_a_few_rows_say_nothing_of_what_never_varies(sick: Path) -> None:
    few = doctor(sick, "--rows", "49", "--format", "concise")
    assert "49 held-out rows are too few to judge a model: 50 are needed" in few.output
    for code in ("HS703", "HS731", "same weights in all rows"):
        assert code not in few.output
    few = doctor(sick, "--rows", "49", "--threshold", "positives=20", "--format", "concise")
    assert "too few to judge a model" not in few.output


def test_a_run_beside_itself_is_the_same(healthy: Path) -> None:
    result = doctor(healthy, "--against", str(healthy), "--rows", "200")
    assert result.exception is None
    (row,) = (line for line in result.output.splitlines() if line.strip().startswith("click "))
    assert row.split()[1:6] == ["0", "0", "to", "0", "same"]


def test_a_threshold_that_is_not_one_is_explained_in_whole_sentences(healthy: Path) -> None:
    for given, answer in (
        ("zeos=0.4", "`zeos` is not a threshold: did you mean zeros?"),
        ("zeros=", "`zeros=` is not of the form NAME=VALUE, such as zeros=0.8."),
    ):
        assert str(doctor(healthy, "--threshold", given).exception) == answer
    assert str(doctor(healthy, "--tolerance", "nan").exception) == "nan is not a finite number."


@pytest.mark.parametrize("tasks", ["[]", '{"like": null}', '{"like": {"labelled": "x"}}'])
def test_metrics_of_another_form(healthy: Path, tmp_path: Path, tasks: str) -> None:
    run = shutil.copytree(healthy, tmp_path / "run")
    (run / "metrics.json").write_text(f'{{"tasks": {tasks}}}')
    result = doctor(run, "--rows", "100", "--sample-rows", "0")
    if "labelled" in tasks:
        assert result.exception is None
    else:
        assert "metrics.json holds no metrics: restore it from a copy" in result.output


def test_memory_that_runs_out_is_explained(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short_of_memory(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("homespec.doctor.examine.examine", short_of_memory)
    result = doctor(healthy)
    assert isinstance(result.exception, SystemExit)
    assert result.exception.code == 2
    assert "error: memory ran out while examining `planted`: its weights are" in result.output


def test_what_a_task_without_labels_has_not_is_a_dash(healthy: Path, tmp_path: Path) -> None:
    table = pq.read_table(healthy / "rows.parquet")
    column = table.column_names.index("like")
    nothing = pa.nulls(len(table), pa.int64())
    pq.write_table(table.set_column(column, "like", nothing), tmp_path / "rows.parquet")
    page = tmp_path / "report.html"
    result = doctor(healthy, "--rows", "200", "--html", str(page), data=tmp_path / "rows.parquet")
    assert result.exception is None
    for text in (result.output, page.read_text()):
        assert not re.search(r"\bnan\b", text)
