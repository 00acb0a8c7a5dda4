"""Sources: files and folders of parquet and CSV; errors name the file."""

from __future__ import annotations

import gzip
import os
import pickle
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from homespec.data import DataError
from homespec.data.data_files import DataFiles, open_files
from homespec.data.splits import open_splits

WANTED = {"a": "feature `a`", "s": "feature `s`"}


def table(low: int, high: int, **columns: Any) -> pa.Table:
    return pa.table({"a": range(low, high), "s": [f"t{i}" for i in range(low, high)], **columns})


def write(path: Path, rows: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, **options)
    return path


def rows_of(source: DataFiles) -> list[int]:
    schema = source.schema(WANTED)
    batches = [b for chunk in source.chunks for b in chunk.batches(schema)]
    return [int(a) for b in batches for a in b["a"].to_pylist()]


def test_row_groups_of_files_of_folders(tmp_path: Path) -> None:
    write(tmp_path / "d" / "b.parquet", table(10, 15), row_group_size=2)
    write(tmp_path / "d" / "x" / "c.parquet", table(15, 18))
    write(tmp_path / "d" / "_temporary" / "e.parquet", table(90, 99))
    write(tmp_path / "d" / ".hidden.parquet", table(90, 99))
    (tmp_path / "d" / "_SUCCESS").touch()
    (tmp_path / "d" / "prepared.json").write_text("{}")
    source = open_files([write(tmp_path / "a.parquet", table(0, 10)), tmp_path / "d"])
    assert [chunk.rows for chunk in source.chunks] == [10, 2, 2, 1, 3]
    assert source.rows == 18
    assert rows_of(source) == list(range(18))
    assert str(source) == f"{tmp_path}/a.parquet and 2 more files"
    assert rows_of(pickle.loads(pickle.dumps(source))) == list(range(18))  # for worker processes


@pytest.mark.parametrize("rows", [0, 1, 10, 11, 13, 99])
def test_the_first_rows(tmp_path: Path, rows: int) -> None:
    write(tmp_path / "b.parquet", table(10, 15), row_group_size=2)
    source = open_files([write(tmp_path / "a.parquet", table(0, 10)), tmp_path / "b.parquet"])
    assert source.first(rows).rows == min(rows, 15)
    assert rows_of(source.first(rows)) == list(range(min(rows, 15)))
    assert source.first(None) is source


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv(tmp_path: Path, name: str) -> None:
    text = 'a,s,l\n1,007,"1 2"\n2,,\n3,"x, y",[]\n4,NULL,nan\n'
    opener = gzip.open if name.endswith("gz") else open
    with opener(tmp_path / name, "wt") as file:
        file.write(text)
    source = open_files([tmp_path / name])
    assert source.rows == 4
    assert [chunk.rows for chunk in source.chunks] == [4]
    (batch,) = source.chunks[0].batches(source.schema(dict.fromkeys("sla", "x")))
    assert batch.to_pydict() == {
        "s": ["007", None, "x, y", None],  # text that looks like a number stays as it is
        "l": ["1 2", None, "[]", None],
        "a": ["1", "2", "3", "4"],
    }


def test_csv_of_many_blocks_in_order(tmp_path: Path) -> None:
    rows = 200_000  # above 2 MB; a block has 1 MB
    lines = "".join(f"{i},x{i}\n" for i in range(rows))
    (tmp_path / "a.csv").write_text("a,s\n" + lines)
    source = open_files([tmp_path / "a.csv"])
    assert source.rows == rows
    assert rows_of(source) == list(range(rows))


def test_columns_of_files_are_brought_together(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", pa.table({"a": pa.array([1], pa.int16()), "s": pa.nulls(1)}))
    write(tmp_path / "2.parquet", pa.table({"s": pa.array(["x"]).dictionary_encode(), "a": [2.0]}))
    write(tmp_path / "3.parquet", pa.table({"a": [3], "s": ["y"], "more": [1]}))
    source = open_files([tmp_path])
    assert source.type_of("a") == pa.float64()
    assert source.type_of("s") == pa.string()
    assert rows_of(source) == [1, 2, 3]


def test_a_file_that_differs_is_named(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", table(0, 3))
    write(tmp_path / "2.parquet", pa.table({"a": ["x"], "s": ["x"]}))
    source = open_files([tmp_path])
    with pytest.raises(DataError, match=r"2.parquet: its column `a` is string, but int64 in .*1.p"):
        source.schema(WANTED)
    assert source.schema({"s": "feature `s`"}).names == ["s"]  # what is not wanted may differ
    write(tmp_path / "2.parquet", pa.table({"s": ["x"]}))
    with pytest.raises(DataError, match=r"2.parquet lacks the column `a`, which other files have"):
        open_files([tmp_path]).schema(WANTED)


def test_missing_columns_all_at_once(tmp_path: Path) -> None:
    source = open_files([write(tmp_path / "a.parquet", table(0, 3))])
    with pytest.raises(DataError) as caught:
        source.schema({"S_": "feature `x`", "s": "feature `s`", "zzz": "task `t`"})
    assert str(caught.value) == (
        f"{tmp_path}/a.parquet lacks columns: feature `x` wants the column `S_`"
        " (did you mean `s`?); task `t` wants the column `zzz`. The columns are `a` and `s`"
    )


@pytest.mark.parametrize("checksum", [False, True])
def test_a_broken_file_in_the_middle_is_named_when_it_is_read(
    tmp_path: Path, checksum: bool
) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.parquet", table(0, 5000), write_page_checksum=checksum)
    path = tmp_path / "1.parquet"
    content = bytearray(path.read_bytes())
    if checksum:
        content[2000] ^= 1  # one bit of the values
    else:
        content[4:4000] = b"\xff" * 3996  # data pages with their heads; the footer is whole
    path.write_bytes(content)
    source = open_files([tmp_path])
    assert source.rows == 15_000
    with pytest.raises(
        DataError, match=r"/1\.parquet is broken \(.*create or download it again"
    ) as one:
        rows_of(source)
    assert "\n" not in str(one.value)
    path.write_bytes(content[:-100])
    with pytest.raises(DataError, match=r"/1\.parquet is not a parquet file"):
        open_files([tmp_path])


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b"", "its first line must name the columns"),
        (b"1,1\n1,2\n", "its first line must name the columns, each once"),
        (b"a,s\n1,caf\xe9\n", "write it as UTF-8"),
    ],
)
def test_a_remedy_for_each_broken_csv(tmp_path: Path, content: bytes, remedy: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.csv is broken \(.*\); {remedy}$") as caught:
        rows_of(open_files([tmp_path / "a.csv"]))
    assert str(caught.value).count("a.csv") == 1


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,s\n1,x\n2,y\n")
    source = open_files([tmp_path / "a.csv"])
    assert source.rows == 2
    (tmp_path / "a.csv").write_text("a,s\n1,x\n")
    with pytest.raises(DataError, match=r"a.csv has fewer rows than when it was opened"):
        rows_of(source)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"a,b\n1,2\n", "a.parquet is not a parquet file"),
        ("a.txt", b"a\n1\n", r"a.txt is neither .parquet nor .csv nor .csv.gz"),
        ("a.csv", b"", r"a.csv is broken \(.*[Ee]mpty"),
        ("a.csv", b"a,b,a\n1,2,3\n", r"a.csv is broken \(.*multiple columns named a"),
        ("a.csv", b"a;b\n1;2\n", r"a.csv separates its cells by ';': write it with commas"),
        ("a.csv", b"a\tb\n1\t2\n", r"a.csv separates its cells by '\\t'"),
        ("a.csv", b"a;b\n1;0,5\n", r"got 2: 1;0,5\); write it with commas between cells"),
        ("a.csv", "a,größe\n1,2\n".encode("latin-1"), r"a.csv is broken \(.*; write it as UTF-8"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), r"a.csv is broken \(.*; write it as UTF-8"),
        ("a.csv.gz", b"a,b\n1,2\n", r"a.csv.gz is broken \("),
        ("a.csv", b"a,s\n1,2\n1\n", r"a.csv is broken \(.*[Ee]xpected 2 columns, got 1"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        rows_of(open_files([tmp_path / name]))
    assert "\n" not in str(caught.value)


def test_folders_and_formats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="x does not exist"):
        open_files([tmp_path / "x"])
    with pytest.raises(DataError, match=r"holds no \.parquet, \.csv or \.csv\.gz file"):
        open_files([tmp_path])
    write(tmp_path / "a.parquet", table(0, 1))
    (tmp_path / "b.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"a\.parquet and .*b\.csv have different formats"):
        open_files([tmp_path])


def test_links_are_followed_and_count_once(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    write(tmp_path / "elsewhere" / "x.parquet", table(3, 6))
    write(tmp_path / "y.parquet", table(6, 8))
    write(folder / "day1.parquet" / "part.parquet", table(0, 3))  # a folder, as Spark names it
    (folder / "day2").symlink_to(tmp_path / "elsewhere")
    (folder / "day3.parquet").symlink_to(tmp_path / "y.parquet")
    (folder / "latest").symlink_to(folder / "day2")
    (folder / "latest.parquet").symlink_to(folder / "day3.parquet")
    (folder / "loop").symlink_to(folder)
    (folder / "note.txt").symlink_to("nowhere")
    assert rows_of(open_files([folder])) == list(range(8))
    assert rows_of(open_files([folder / "day2", folder / "latest.parquet"])) == list(range(3, 8))


def test_what_names_leave_out_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    for number, name in enumerate(("a", "_b", ".c", "_old/x", "_tmp/deep/y", "sub/_z")):
        write(folder / f"{name}.parquet", table(number, number + 1))
    (folder / "_log").mkdir()
    for name in ("_SUCCESS", ".a.parquet.crc", "_log/0.json", "note.txt"):
        (folder / name).write_text("")
    source = open_files([folder])
    assert rows_of(source.first(9)) == [0]
    assert source.first(9).not_read == (
        "not read, because their names begin with `.` or `_`: "
        + ", ".join(str(folder / n) for n in (".c.parquet", "_b.parquet", "_old", "_tmp"))
        + f", {folder / 'sub' / '_z.parquet'}"
    )
    write(folder / "_more.parquet", table(0, 1))
    assert str(open_files([folder]).not_read).endswith(f", {folder / '_tmp'} and 1 more")
    assert open_files([folder / "_b.parquet"]).not_read is None
    with pytest.raises(DataError, match=r"file but .*_z\.parquet: names that begin with"):
        open_files([folder / "sub"])


def special(path: Path, kind: str) -> None:
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(os.path.relpath(path))  # the names of sockets are short
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to("nowhere")


@pytest.mark.parametrize("name", ["train.parquet", "train.csv", "train.csv.gz", "train/a.csv"])
@pytest.mark.parametrize("kind", ["a FIFO", "a socket", "a device", "a link"])
def test_what_is_no_file_is_an_error_at_once(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    special(path, kind)
    message = f"{path} is {kind}"
    for paths in ([tmp_path], [path], [write(tmp_path / "x" / "1.pq", table(0, 1)), path]):
        with pytest.raises(DataError, match=message):
            open_files(paths)
    if kind != "a link":
        with pytest.raises(DataError, match=rf"{message}, not a file: write its content into one"):
            open_splits([tmp_path])
    valid = write(tmp_path / "y" / "valid.parquet", table(0, 1))
    with pytest.raises(DataError, match=message):
        open_splits([valid], [path])


def test_a_path_that_the_system_refuses(tmp_path: Path) -> None:
    for paths in ([Path("x" * 300)], [tmp_path / ("x" * 300)] * 2):
        with pytest.raises(DataError, match=r"xx cannot be read \(File name too long\)"):
            open_splits(paths)
    (tmp_path / "a.csv").symlink_to("a.csv")
    with pytest.raises(DataError, match=r"a\.csv is a link to a file that does not exist"):
        open_files([tmp_path])


def test_splits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no does not exist; give files, or a folder"):
        open_splits([tmp_path / "no"])
    train = write(tmp_path / "one" / "train.parquet", table(0, 3))
    source, valid = open_splits([tmp_path / "one"])
    assert (source.rows, valid) == (3, None)
    (tmp_path / "one" / "valid.csv").write_text("a,s\n1,x\n")
    source, valid = open_splits([tmp_path / "one"])
    assert valid is not None
    assert (source.rows, valid.rows) == (3, 1)
    source, valid = open_splits([tmp_path / "one"], [train, train])
    assert valid is not None
    assert (source.rows, valid.rows) == (3, 6)
    source, valid = open_splits([train], [tmp_path / "one"])  # not its rows to train on
    assert valid is not None
    assert (source.rows, valid.rows) == (3, 1)
    assert open_splits([train, train])[0].rows == 6
    write(tmp_path / "two" / "train" / "1.parquet", table(0, 3))
    write(tmp_path / "two" / "train" / "2.parquet", table(0, 3))
    write(tmp_path / "two" / "valid" / "1.parquet", table(0, 2))
    source, valid = open_splits([tmp_path / "two"])
    assert valid is not None
    assert (source.rows, valid.rows) == (6, 2)
    assert open_splits([tmp_path / "two" / "train"])[0].rows == 6  # a folder of files
    write(tmp_path / "two" / "train.parquet", table(0, 3))
    with pytest.raises(DataError, match=r"train and .*train\.parquet both exist"):
        open_splits([tmp_path / "two"])


@pytest.mark.parametrize("name", ["train", "valid"])
def test_a_part_without_rows(tmp_path: Path, name: str) -> None:
    for part in ("train", "valid"):
        write(tmp_path / f"{part}.parquet", table(0, 0 if part == name else 3))
    with pytest.raises(DataError, match=rf"{name}\.parquet has no rows"):
        open_splits([tmp_path])
