"""`homespec doctor SPEC`: the model of a spec before its first step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from planted import SPEC, planted

import homespec
from homespec.cli.main import cli
from homespec.doctor.held_out import HeldOut
from homespec.doctor.start import untrained
from homespec.train.settings import Settings

HEAD = SPEC.partition("experts:")[0]
FLAT = HEAD + (
    "family: ple\nlayers: 3\ninit: torch\n"
    "experts: {width: 16, hidden: [16, 16]}\ntowers: {hidden: [16, 16]}\n"
)
ROWS = 1500


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    _, there = planted(lambda state: None)
    features = there.batch.features
    columns = {task: label[:ROWS].long().tolist() for task, label in there.batch.labels.items()}
    columns |= {name: features[name][:ROWS].tolist() for name in ("numbers", "place")}
    columns["age"] = torch.randn(ROWS).tolist()
    file = tmp_path_factory.mktemp("rows") / "rows.parquet"
    pq.write_table(pa.table(columns), file)
    return file


def written(tmp_path: Path, text: str, name: str = "own.yaml") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def doctor(spec: Path, rows: Path, *arguments: str) -> Result:
    given = ["doctor", str(spec), "--data", str(rows), *arguments]
    return CliRunner().invoke(cli, given, standalone_mode=False)


def test_a_flat_start_is_found_at_its_line_and_the_remedy_mends_it(
    rows: Path, tmp_path: Path
) -> None:
    spec = written(tmp_path, FLAT)
    found = doctor(spec, rows, "--strict", "--format", "concise")
    assert found.return_value == 1
    line = FLAT.splitlines().index("init: torch") + 1
    assert f"{spec}:{line}:7: warning[HS751] flat-start" in found.output
    assert "the logits of `click`, `finish`" in found.output
    assert "--set init=auto" in doctor(spec, rows).output
    mended = written(tmp_path, FLAT.replace("init: torch", "init: auto"), "mended.yaml")
    assert doctor(mended, rows, "--strict").return_value == 0


def test_channels_that_are_off_from_the_start_are_found(rows: Path, tmp_path: Path) -> None:
    spec = written(tmp_path, FLAT)
    text = doctor(spec, rows, "--threshold", "dead_channels=0.3", "--format", "concise").output
    assert "note[HS752] dead-start" in text
    assert "before training, up to 100% of the channels of `meta" in text


def test_homes_experts_start_on_their_scale_and_gates_are_no_finding(
    rows: Path, tmp_path: Path
) -> None:
    """Norms have the statistics of rows, LoRAs that do nothing yet are as they should be."""
    file = tmp_path / "health.json"
    result = doctor(written(tmp_path, SPEC), rows, "--strict", "--json", str(file))
    assert result.return_value == 0
    assert "before the first step" in result.output
    (run,) = json.loads(file.read_text())["runs"]
    assert run["at_start"]
    assert run["knockouts"] == []
    assert all(0.45 < expert["std"] < 0.75 for expert in run["experts"])  # 0.56 (HOME.md)
    assert all(task["spread"] > 0.05 for task in run["tasks"])


def test_the_weights_are_those_that_training_starts_from(rows: Path, tmp_path: Path) -> None:
    """And boundaries that the spec leaves to the data are fitted to it."""
    age = "  age: {bucketize: {quantiles: 4}, dim: 2}\ngroups:"
    path = written(tmp_path, SPEC.replace("groups:", age))
    spec = homespec.load(path)
    held_out = HeldOut.open(spec, [rows], None)
    run = untrained(path, spec, [rows], held_out, seed=3)
    state = run.module.logical_state(run.model)
    module = homespec.RankingModule(spec, Settings(seed=3))
    for name, tensor in module.code.logical_state(module.model).items():
        if not name.endswith(("running_mean", "running_var", "boundaries")):
            torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)
    ages = torch.tensor(pq.read_table(rows)["age"].to_pylist()).sort().values
    cuts = state["features.age.boundaries"]
    assert cuts.tolist() == pytest.approx(ages[[ROWS // 4, ROWS // 2, 3 * ROWS // 4]].tolist())


def test_tables_begin_with_their_files(rows: Path, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 2))
    np.save(tmp_path / "v.npy", vectors)
    kind = "  kind: {id: {vocab: 4}, dim: 2, column: place, from: v.npy, frozen: true}\ngroups:"
    path = written(tmp_path, SPEC.replace("groups:", kind))
    spec = homespec.load(path)
    run = untrained(path, spec, [rows], HeldOut.open(spec, [rows], None))
    table = run.module.logical_state(run.model)["features.kind.weight"]
    assert np.allclose(table[1:].numpy(), vectors)


def test_a_start_beside_another(rows: Path, tmp_path: Path) -> None:
    spec, other = written(tmp_path, FLAT), written(tmp_path, SPEC, "home.yaml")
    result = doctor(spec, rows, "--against", str(other))
    assert result.exception is None
    assert "own.yaml" in result.output
    assert "home.yaml" in result.output


def test_a_seed_of_a_run_has_no_effect_and_is_refused(rows: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert "is for a spec before its first step" in str(
        doctor(tmp_path / "run", rows, "--seed", "1").exception
    )


def test_a_spec_of_a_spec_and_a_wrong_one_are_refused(rows: Path, tmp_path: Path) -> None:
    spec = written(tmp_path, SPEC)
    assert "is a spec itself" in str(doctor(spec, rows, "--spec", str(spec)).exception)
    wrong = written(tmp_path, SPEC.replace("width: 8", "widths: 8"), "wrong.yaml")
    result = doctor(wrong, rows)
    assert isinstance(result.exception, homespec.SpecError)
    assert "HS101" in str(result.exception)


def test_one_row_has_no_statistics(rows: Path, tmp_path: Path) -> None:
    result = doctor(written(tmp_path, FLAT), rows, "--rows", "1")
    assert result.exception is None
    assert "1 held-out row is too few to judge a model: 50 are needed" in result.output
    assert "1 held-out row, before the first step" in result.output
    assert "HS75" not in result.output
