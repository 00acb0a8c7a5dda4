"""`predict`: what scores are, of which rows, in which files, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from scores import TASKS, close

import homespec
from homespec.cli.main import cli
from homespec.data import DataError
from homespec.data.batches import as_batch
from homespec.data.data_files import open_files
from homespec.data.in_memory import load_rows
from homespec.scoring import ScoringError
from homespec.train import RunError
from homespec.train.torch_compile import Compilations, obstacle
from homespec.variant import UnknownNameError

LABELS = ("is_click", "is_cart", "play_ms")


@pytest.fixture(scope="session")
def logits(trained: Path, valid: Path) -> dict[str, torch.Tensor]:
    """The outputs of the trained model on the held-out rows, all at once."""
    loaded = homespec.load_run(trained)
    held = load_rows(loaded.spec, open_files([valid]))
    assert held is not None
    with torch.no_grad():
        outputs: dict[str, torch.Tensor] = loaded.model(as_batch(held).features)
    return outputs


def run_cli(*words: object) -> Any:
    return CliRunner().invoke(cli, ["predict", *map(str, words)])


# ---------------------------------------------------------------- what scores are


def test_probabilities_and_estimates(
    trained: Path, valid: Path, logits: dict[str, torch.Tensor]
) -> None:
    table = homespec.predict(trained, valid).table()
    assert table.column_names == TASKS
    assert {field.type for field in table.schema} == {pa.float32()}
    for task in ("click", "cart"):
        close(table[task], logits[task].sigmoid())
    close(table["ctcvr"], logits["click"].sigmoid() * logits["cart"].sigmoid())
    close(table["watch"], logits["watch"] * 1000)


def test_logits_are_what_the_model_computes(
    trained: Path, valid: Path, logits: dict[str, torch.Tensor]
) -> None:
    table = homespec.predict(trained, valid, output="logits").table()
    for task in TASKS:
        close(table[task], logits[task])


def test_the_model_is_pruned_to_the_tasks_asked_for(
    trained: Path, valid: Path, logits: dict[str, torch.Tensor]
) -> None:
    scores = homespec.predict(trained, valid, tasks=["watch", "ctcvr"], prefix="p_")
    table = scores.table()
    assert table.column_names == ["p_ctcvr", "p_watch"]
    close(table["p_ctcvr"], logits["click"].sigmoid() * logits["cart"].sigmoid())
    parts = [sum(p.numel() for p in homespec.predict(trained, valid, tasks=tasks)
                 .scorer.run.model.parameters()) for tasks in (None, "watch")]  # fmt: skip
    assert parts[1] < parts[0]


def test_the_last_checkpoint(trained: Path, valid: Path) -> None:
    for which in ("best", "last"):
        run = homespec.load_run(trained, checkpoint=which)
        held = load_rows(run.spec, open_files([valid]))
        assert held is not None
        with torch.no_grad():
            wanted = run.model(as_batch(held).features)["click"].sigmoid()
        close(homespec.predict(trained, valid, checkpoint=which).table()["click"], wanted)


def test_bf16_gives_float32_scores_that_are_near(
    trained: Path, valid: Path, logits: dict[str, torch.Tensor]
) -> None:
    table = homespec.predict(trained, valid, precision="bf16").table()
    found = np.array(table["click"])
    assert found.dtype == np.float32
    wanted = logits["click"].sigmoid().numpy()
    assert 1e-6 < np.abs(found - wanted).max() < 0.03


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))
def test_compiled_once(trained: Path, valid: Path, logits: dict[str, torch.Tensor]) -> None:
    """Though the rows do not fill the last batch."""
    scores = homespec.predict(trained, valid, compile=True, batch_size=64)
    counted = Compilations(lambda line: pytest.fail(line))
    close(scores.table()["watch"], logits["watch"] * 1000)
    assert counted.count == 1
    counted.close()


def test_a_score_that_is_not_finite_names_the_row(
    trained: Path, valid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = homespec.predict(trained, valid, batch_size=100)
    model = scores.scorer.run.model

    def broken(features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        outputs = type(model).forward(model, features)
        outputs["cart"][37] = math.inf
        return outputs

    monkeypatch.setattr(model, "forward", broken)
    with pytest.raises(ScoringError, match=r"valid\.parquet, row 37 \(from 0\).*`cart` is inf"):
        scores.table()


# ---------------------------------------------------------------- which rows, in which order


@pytest.mark.parametrize("batch", [1, 7, 64, 1024])
def test_rows_keep_their_order_over_files_and_row_groups(
    trained: Path, valid: Path, tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of few rows, so that they end inside of files and row groups."""
    from homespec.scoring import rows

    monkeypatch.setattr(rows, "SLAB_ROWS", 50)
    table = pq.read_table(valid)
    for number, (low, high) in enumerate([(0, 3), (3, 3), (3, 201), (201, 500)]):
        pq.write_table(table[low:high], tmp_path / f"{number}.parquet", row_group_size=31)
    found = homespec.predict(trained, tmp_path, keep="request", batch_size=batch).table()
    assert found["request"].to_pylist() == table["request"].to_pylist()
    whole = homespec.predict(trained, valid).table()
    for task in TASKS:
        close(found[task], torch.from_numpy(np.array(whole[task])))


def test_data_needs_no_labels(trained: Path, valid: Path, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(valid).drop_columns(list(LABELS)), tmp_path / "new.parquet")
    assert (
        homespec.predict(trained, tmp_path / "new.parquet")
        .table()
        .equals(homespec.predict(trained, valid).table())
    )


@pytest.mark.parametrize("name", ["new.csv", "new.csv.gz"])
def test_csv_scores_as_parquet(trained: Path, valid: Path, tmp_path: Path, name: str) -> None:
    table = pq.read_table(valid)
    for column in ("asr", "history_video_id"):
        texts = [None if v is None else " ".join(map(str, v)) for v in table[column].to_pylist()]
        table = table.set_column(table.column_names.index(column), column, pa.array(texts))
    with pa.output_stream(str(tmp_path / name), compression="detect") as file:
        pyarrow.csv.write_csv(table, file)
    found = homespec.predict(trained, tmp_path / name, keep=["request", "video_id"]).table()
    assert found["video_id"].type == pa.string()  # CSV has no types
    whole = homespec.predict(trained, valid).table()
    texts = [None if v is None else str(v) for v in table["video_id"].to_pylist()]
    assert found["video_id"].to_pylist() == texts
    for task in TASKS:
        close(found[task], torch.from_numpy(np.array(whole[task])))


def test_no_rows(trained: Path, valid: Path, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(valid)[:0], tmp_path / "none.parquet")
    for name in ("out.parquet", "out.csv"):
        scores = homespec.predict(trained, tmp_path / "none.parquet", keep="user_id")
        assert scores.write(tmp_path / name) == 0
    assert pq.read_schema(tmp_path / "out.parquet").names == ["user_id", *TASKS]
    assert (tmp_path / "out.csv").read_text().strip() == '"user_id","click","cart","ctcvr","watch"'


# ---------------------------------------------------------------- what is refused


def test_two_columns_of_one_name(trained: Path, valid: Path, tmp_path: Path) -> None:
    table = pq.read_table(valid).rename_columns({"is_click": "click"})
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(ScoringError, match=r"`click` is both a column to keep and .* --prefix p_"):
        homespec.predict(trained, tmp_path / "in.parquet", keep=["request", "click"])
    found = homespec.predict(trained, tmp_path / "in.parquet", keep="click", prefix="p_").schema
    assert found.names == ["click", *(f"p_{task}" for task in TASKS)]


def test_missing_columns_are_named(trained: Path, valid: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--keep wants the column `reqest` .did you mean `req"):
        homespec.predict(trained, valid, keep="reqest")
    pq.write_table(pq.read_table(valid).drop_columns(["age", "tab"]), tmp_path / "in.parquet")
    with pytest.raises(DataError, match=r"feature `tab` .* feature `age` wants"):
        homespec.predict(trained, tmp_path / "in.parquet")


def test_files_that_do_not_agree_on_a_kept_column(
    trained: Path, valid: Path, tmp_path: Path
) -> None:
    table = pq.read_table(valid)
    for number, kind in enumerate((pa.float32(), pa.float64())):
        column = pa.array([0.1] * len(table), kind)
        pq.write_table(table.append_column("x", column), tmp_path / f"{number}.parquet")
    with pytest.raises(DataError, match=r"1\.parquet: its column `x` is double, but float in"):
        homespec.predict(trained, tmp_path, keep="x")


def test_a_folder_of_two_purposes_is_not_scored_as_one(
    trained: Path, folder: Path, valid: Path
) -> None:
    with pytest.raises(
        DataError, match=r"holds both training and held-out rows: name .*train\.parquet or"
    ):
        homespec.predict(trained, folder / "data")


def test_a_name_that_is_no_task(trained: Path, valid: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean `click`"):
        homespec.predict(trained, valid, tasks="clik")


@pytest.mark.parametrize(
    "options", [{"output": "x"}, {"precision": "fp8"}, {"checkpoint": "x"}, {"batch_size": 0}]
)
def test_options_have_limits(trained: Path, valid: Path, options: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        homespec.predict(trained, valid, **options)


def test_a_folder_that_is_no_run(tmp_path: Path, valid: Path) -> None:
    with pytest.raises(RunError, match="holds no run of homespec train"):
        homespec.predict(tmp_path, valid)


# ---------------------------------------------------------------- the command


def test_the_command(trained: Path, valid: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    result = run_cli(trained, "--data", valid, "-o", out, "--keep", "user_id, request",
                     "--keep", "video_id", "--tasks", "click,watch", "--last")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "500 rows in " in result.stderr
    assert f"wrote {out}" in result.stderr
    assert result.stdout == ""
    table = pq.read_table(out)
    assert table.column_names == ["user_id", "request", "video_id", "click", "watch"]
    assert table.equals(homespec.predict(
        trained, valid, tasks=("click", "watch"), keep=("user_id", "request", "video_id"),
        checkpoint="last").table())  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "clik"], "Invalid value for '--tasks': there is no task `clik`"),
        (["--keep", "x"], "error: {valid} lacks columns: --keep wants the column `x`"),
        (["--device", "cuda"], "error: torch finds no GPU here: use the device cpu"),
        (["--batch-size", "0"], "Invalid value for '--batch-size'"),
    ],
)
def test_mistakes_end_with_2_and_one_line(
    trained: Path, valid: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    result = run_cli(trained, "--data", valid, "-o", tmp_path / "o.csv", *words)
    assert result.exit_code == 2
    assert message.format(valid=valid) in result.stderr
    assert not list(tmp_path.iterdir())
