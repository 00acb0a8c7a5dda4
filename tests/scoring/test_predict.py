"""`predict`: what scores are, of which rows, in which files, and what is refused."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

import homespec
from homespec.cli.main import cli
from homespec.data import DataError
from homespec.data.batches import as_batch
from homespec.data.data_files import open_files
from homespec.data.in_memory import load_rows
from homespec.scoring import ScoringError, writer
from homespec.train import RunError
from homespec.variant import UnknownNameError

TASKS = ["click", "cart", "ctcvr", "watch"]
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


def close(found: pa.ChunkedArray, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(
        torch.from_numpy(np.array(found)), wanted.float(), rtol=1e-4, atol=1e-5
    )


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
def test_compiled(trained: Path, valid: Path, logits: dict[str, torch.Tensor]) -> None:
    close(homespec.predict(trained, valid, compile=True).table()["watch"], logits["watch"] * 1000)


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


MEMORY = """
import re, sys
import homespec
from homespec.scoring import writer
from pathlib import Path
writer.GROUP_ROWS = 10_000  # so that few rows make many row groups
run, out, repeats = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
scores = homespec.predict(run, [out / "rows.parquet"] * repeats, keep="request")
rows = scores.write(out / f"scores{repeats}.parquet")
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(rows, peak // 1024)
"""


def test_memory_does_not_grow_with_the_number_of_rows(
    trained: Path, valid: Path, tmp_path: Path
) -> None:
    """Ten times as many rows, whose column that passes through has 108 MB more, in 40 MiB more."""
    table = pa.concat_tables([pq.read_table(valid).select(
        ["user_id", "video_id", "tab", "age", "asr", "history_video_id"])] * 20)  # fmt: skip
    long = pa.array([f"{number:0300}" for number in range(table.num_rows)])
    pq.write_table(table.append_column("request", long), tmp_path / "rows.parquet",
                   row_group_size=2000)  # fmt: skip
    peaks = {}
    for repeats in (4, 40):
        made = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", MEMORY, trained, tmp_path, str(repeats)],
            capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        rows, peaks[repeats] = map(int, made.stdout.split())
        assert rows == repeats * table.num_rows
    assert peaks[40] - peaks[4] < 40, peaks


# ---------------------------------------------------------------- files


def test_columns_pass_through_unchanged(trained: Path, valid: Path, tmp_path: Path) -> None:
    table = pq.read_table(valid)
    moment = pa.array(range(len(table)), pa.timestamp("us", "UTC"))
    kinds = table["scene"].combine_chunks().dictionary_encode()
    table = table.append_column("moment", moment).append_column("kind", kinds)
    table = table.append_column("big", pa.array([2**63 + n for n in range(500)], pa.uint64()))
    pq.write_table(table, tmp_path / "in.parquet")
    keep = ["moment", "kind", "big", "history_video_id", "is_click", "age"]
    homespec.predict(trained, tmp_path / "in.parquet", keep=keep).write(tmp_path / "o.parquet")
    found = pq.read_table(tmp_path / "o.parquet")
    assert found.column_names == [*keep, *TASKS]
    for name in keep:
        assert found[name].to_pylist() == table[name].to_pylist()
    assert found.schema.field("moment").type == pa.timestamp("us", "UTC")


@pytest.mark.parametrize("name", ["out.parquet", "out.pq", "out.csv", "out.csv.gz"])
def test_files_hold_what_tables_do(
    trained: Path, valid: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "GROUP_ROWS", 200)
    scores = homespec.predict(trained, valid, keep=["user_id", "request"], batch_size=64)
    seen: list[tuple[int, int]] = []
    out = tmp_path / "new" / name
    assert scores.write(out, lambda *at: seen.append(at)) == 500
    assert (seen[0], seen[-1]) == ((0, 500), (500, 500))
    wanted = scores.table()
    if "csv" in name:
        kinds = pyarrow.csv.ConvertOptions(column_types=wanted.schema, strings_can_be_null=True)
        found = pyarrow.csv.read_csv(out, convert_options=kinds)
    else:
        found = pq.read_table(out)
    assert found.equals(wanted)  # float32 survive CSV to the bit
    assert [path.name for path in out.parent.iterdir()] == [name]


def test_a_file_is_written_whole_or_not_at_all(
    trained: Path, valid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"
    out.write_text("of yesterday")
    scores = homespec.predict(trained, valid)

    def fail(done: int, total: int) -> None:
        if done:
            raise DataError("broken")

    with pytest.raises(DataError):
        scores.write(out, fail)
    assert out.read_text() == "of yesterday"
    assert list(tmp_path.iterdir()) == [out]
    monkeypatch.setattr(writer.pq.ParquetWriter, "write_table", full_disk)
    with pytest.raises(ScoringError, match=r"out\.parquet cannot be written \(No space left"):
        scores.write(out)
    assert list(tmp_path.iterdir()) == [out]


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (lambda valid, tmp: valid, "is one of the files that are read"),
        (lambda valid, tmp: linked(valid, tmp / "link.parquet"), "is one of the files"),
        (lambda valid, tmp: tmp / "out.txt", r"neither \.parquet nor"),
        (lambda valid, tmp: made(tmp / "folder.parquet"), "is there and is no file"),
        (lambda valid, tmp: Path("/dev/stdout"), r"neither \.parquet nor"),
        (lambda valid, tmp: filed(tmp / "file") / "o.csv", "cannot be written"),
    ],
)
def test_outputs_that_are_refused(
    trained: Path, valid: Path, tmp_path: Path, out: Callable[..., Path], message: str
) -> None:
    before = valid.read_bytes()
    with pytest.raises(ScoringError, match=message):
        homespec.predict(trained, valid).write(out(valid, tmp_path))
    assert valid.read_bytes() == before


def linked(file: Path, name: Path) -> Path:
    name.hardlink_to(file)
    return name


def filed(path: Path) -> Path:
    path.touch()
    return path


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_no_scores_among_the_data(trained: Path, valid: Path, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(valid.read_bytes())
    with pytest.raises(ScoringError, match=r"is inside of .*, whose files are read as data"):
        homespec.predict(trained, tmp_path).write(tmp_path / "deep" / "scores.parquet")


def test_csv_holds_no_lists(trained: Path, valid: Path, tmp_path: Path) -> None:
    scores = homespec.predict(trained, valid, keep="history_video_id")
    with pytest.raises(ScoringError, match=r"`history_video_id` is list.* CSV cannot hold"):
        scores.write(tmp_path / "o.csv")


# ---------------------------------------------------------------- what is refused


def test_two_columns_of_one_name(trained: Path, valid: Path, tmp_path: Path) -> None:
    table = pq.read_table(valid).rename_columns({"is_click": "click"})
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(ScoringError, match=r"`click` is a column to keep and .* --prefix p_"):
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
    with pytest.raises(DataError, match=r"holds rows of two purposes: give .*train\.parquet or"):
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
        (["--device", "cuda"], "error: torch finds no GPU here: give the device cpu"),
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
