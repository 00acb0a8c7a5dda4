"""How numbers are scaled in a run: fitted once, kept with the weights, never fitted again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from small_spec import SMALL
from steps import SETTINGS
from warm_runs import train

import homespec
from homespec.data import DataError
from homespec.data.data_files import open_files
from homespec.data.in_memory import load_rows
from homespec.data.scale_fit import ScaleFit
from homespec.train import RunError, fit_boundaries
from homespec.train.datamodule import Part, Rows
from homespec.train.scaling import FILE, Scaled, Scaling, fitted

GIVEN = "duration_ms: {bucketize: [10000, 18000, 30000, 60000, 120000], dim: 8}"
TEXT = SMALL.replace(GIVEN, "duration_ms: {number: {scale: log}}")
BOTH = TEXT.replace(
    "groups:\n", "  again: {bucketize: {quantiles: 8}, dim: 8, column: duration_ms}\ngroups:\n"
)
SPEC = homespec.loads(TEXT)


def of(numbers: list[float]) -> Scaling:
    fit = ScaleFit(SPEC)
    fit.add({"duration_ms": np.array(numbers)})
    return fitted(fit)


# ---------------------------------------------------------------- the file


def test_the_file_has_all_digits(tmp_path: Path) -> None:
    found = of([1 / 3, 2 / 7, 1e9])
    found.write(tmp_path / FILE)
    assert Scaling.read(tmp_path / FILE) == found
    about = json.loads((tmp_path / FILE).read_text())["features"]["duration_ms"]
    assert (about["scale"], about["known"], about["column"]) == ("log", 3, "duration_ms")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("scale: log", "scale: minmax"), "has the scale log there and minmax in the spec"),
        (("log}}", "log}, column: ms}"), "the column `duration_ms` there, `ms` in the spec"),
        (("scale: log", "scale: none"), "it has a scaling of `duration_ms`, which the spec does"),
        (("  tab:", "  age: {number: {}}\n  tab:"), "it has no scaling of `age`"),
    ],
)
def test_another_spec_is_told_what_differs(change: tuple[str, str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        of([1.0, 2.0]).check(homespec.loads(TEXT.replace(*change)), "x.json")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 2}', '{"version": 1, "rows": 1, "features": {"a": {}}}',
     '{"version": 1, "rows": 1, "features": {"a": {"column": "a", "scale": "log", "known": 1,'
     ' "offset": 1, "unit": 0}}}', '{"version": 1, "rows": 1e999, "features": {}}',
     "[" * 100_000],
)  # fmt: skip
def test_a_broken_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DataError, match=r"scaling\.json cannot be read \("):
        Scaling.read(tmp_path / FILE)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        Scaling(0, {}).write(tmp_path / "file" / FILE)


# ---------------------------------------------------------------- a run


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a run, and what it said."""
    out, said = tmp_path_factory.mktemp("run"), list[str]()
    train(BOTH, data, out, said.append, epochs=1)
    return out, said


def test_a_run_fits_both_kinds_and_keeps_them_with_the_weights(
    trained: tuple[Path, list[str]], data: Path
) -> None:
    out, said = trained
    kept = Scaling.read(out / FILE)
    assert "the scaling of duration_ms is fitted to 700 rows and kept in scaling.json" in said
    assert any("boundaries of again are fitted to 700 rows" in line for line in said)
    weights = safetensors.torch.load_file(out / "model.safetensors")
    pair = weights["features.duration_ms.scaling"]
    assert pair.tolist() == kept.values["duration_ms"]
    rows = pq.read_table(data / "train.parquet")["duration_ms"][:700].to_numpy()
    logs = np.log1p(rows.astype(np.float64))
    assert pair.tolist() == pytest.approx([logs.mean(), logs.std()], rel=1e-12)
    assert kept.features["duration_ms"].known == 700


def test_resuming_never_refits(trained: tuple[Path, list[str]], data: Path) -> None:
    out, _ = trained
    before, said = (out / FILE).read_bytes(), list[str]()
    train(BOTH, data, out, said.append, epochs=2, resume=True)
    assert not any("fitted" in line for line in said)
    assert (out / FILE).read_bytes() == before
    other = json.loads(before)
    other["features"]["duration_ms"]["offset"] += 1
    (out / FILE).write_text(json.dumps(other))
    with pytest.raises(DataError, match="another scaling of `duration_ms` than the checkpoint"):
        train(BOTH, data, out, epochs=3, resume=True)
    (out / FILE).unlink()
    train(BOTH, data, out, epochs=3, resume=True)


def test_a_run_that_starts_from_another_keeps_its_scaling(
    trained: tuple[Path, list[str]], data: Path, tmp_path: Path
) -> None:
    """What the old run has stays; what is new, or scaled in another way, is fitted."""
    said: list[str] = []
    new = BOTH.replace("  tab:", "  ms: {number: {scale: minmax}, column: duration_ms}\n  tab:")
    start = {"init_from": str(trained[0]), "epochs": 1, "new_input": "zero"}
    train(new, data, tmp_path / "new", said.append, limit_rows=400, **start)
    assert "the scaling of duration_ms is carried over, not fitted again" in said
    assert "the scaling of ms is fitted to 400 rows and kept in scaling.json" in said
    weights = safetensors.torch.load_file(trained[0] / "model.safetensors")
    found = Scaling.read(tmp_path / "new" / FILE).features
    offset, unit = weights["features.duration_ms.scaling"].tolist()
    assert found["duration_ms"] == Scaled("duration_ms", "log", 0, offset, unit)
    assert found["ms"].known == 400
    said.clear()
    other = BOTH.replace("scale: log", "scale: standard")
    train(other, data, tmp_path / "other", said.append, init_from=str(trained[0]), epochs=1)
    assert any("the scaling of duration_ms is fitted" in line for line in said)


def test_from_memory_and_from_files_it_is_the_same(data: Path) -> None:
    rows = Rows.open(SPEC, [data], [], SETTINGS).held()
    found = []
    for part in (rows.train, Part(rows.train.source, None)):
        fit = ScaleFit(SPEC)
        for columns in fit_boundaries._batches(SPEC, part):
            fit.add(columns)
        found.append(fitted(fit))
    assert found[0] == found[1]


def test_a_column_of_one_number_stops_before_training(data: Path, tmp_path: Path) -> None:
    for name in ("train", "valid"):
        table = pq.read_table(data / f"{name}.parquet")
        at = table.column_names.index("duration_ms")
        table = table.set_column(at, "duration_ms", [[7.0] * len(table)])
        pq.write_table(table, tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match="same number, 7, in every row, so it cannot be scaled"):
        train(TEXT, tmp_path, tmp_path / "out")


def test_scores_are_those_of_the_model(trained: tuple[Path, list[str]], data: Path) -> None:
    """`predict` reads the column as training does."""
    table = pq.read_table(data / "valid.parquet").slice(0, 50)
    pq.write_table(table, data.parent / "few.parquet")
    found = homespec.predict(trained[0], data.parent / "few.parquet", output="logits")
    (scores,) = list(found)
    code, model = homespec.build_with_module(homespec.loads(BOTH))
    code.load_logical_state(model, safetensors.torch.load_file(trained[0] / "model.safetensors"))
    rows = load_rows(homespec.loads(BOTH), open_files([data.parent / "few.parquet"]))
    assert rows is not None
    logits = model.eval()({name: torch.from_numpy(each) for name, each in rows.features.items()})
    expected = logits["click"].detach().numpy()
    assert np.allclose(scores["click"].to_numpy(), expected, atol=1e-5)
