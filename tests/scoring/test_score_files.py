"""The files that `predict` writes: what they hold, when they are there, and which are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from scores import TASKS

import homespec
from homespec.data import DataError
from homespec.scoring import ScoringError, writer


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
        (lambda valid, tmp: valid, "is one of the input files"),
        (lambda valid, tmp: linked(valid, tmp / "link.parquet"), "is one of the input files"),
        (lambda valid, tmp: tmp / "out.txt", r"neither \.parquet nor"),
        (lambda valid, tmp: made(tmp / "folder.parquet"), "exists and is not a file"),
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
    with pytest.raises(ScoringError, match=r"is inside .*, whose files are read as data"):
        homespec.predict(trained, tmp_path).write(tmp_path / "deep" / "scores.parquet")


def test_a_file_of_the_run_is_not_written_over(trained: Path, valid: Path) -> None:
    before = (trained / "losses.csv").read_bytes()
    with pytest.raises(ScoringError, match=r"losses\.csv is a file of the run"):
        homespec.predict(trained, valid).write(trained / "losses.csv")
    assert (trained / "losses.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.list_(pa.int64()), [1]),
        (pa.binary(), b"\xff"),
        (pa.decimal128(5, 2), None),
        (pa.timestamp("us", "UTC"), 0),
        (pa.duration("s"), 5),
        (pa.large_string(), "a,b"),
        (pa.bool_(), True),
        (pa.null(), None),
    ],
)
def test_csv_holds_what_is_one_cell(
    trained: Path, valid: Path, tmp_path: Path, kind: pa.DataType, value: Any
) -> None:
    """Refused before anything is computed, or written."""
    column = pa.array([value] * 500, kind)
    pq.write_table(pq.read_table(valid).append_column("x", column), tmp_path / "in.parquet")
    scores, out = homespec.predict(trained, tmp_path / "in.parquet", keep="x"), tmp_path / "o.csv"
    if kind in (pa.list_(pa.int64()), pa.binary()):
        with pytest.raises(ScoringError, match=r"the column `x` is .*, which CSV cannot hold"):
            scores.write(out)
    else:
        assert scores.write(out) == 500 == len(out.read_text().splitlines()) - 1


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
    """Four times as many rows, whose column that passes through has 108 MB more, in 40 MiB more."""
    table = pa.concat_tables([pq.read_table(valid).select(
        ["user_id", "video_id", "tab", "age", "asr", "history_video_id"])] * 20)  # fmt: skip
    long = pa.array([f"{number:0300}" for number in range(table.num_rows)])
    pq.write_table(table.append_column("request", long), tmp_path / "rows.parquet",
                   row_group_size=2000)  # fmt: skip
    peaks = {}
    for repeats in (12, 48):
        made = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", MEMORY, trained, tmp_path, str(repeats)],
            capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        rows, peaks[repeats] = map(int, made.stdout.split())
        assert rows == repeats * table.num_rows
    assert peaks[48] - peaks[12] < 40, peaks
