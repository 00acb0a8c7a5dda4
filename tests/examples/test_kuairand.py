"""Preparation: join, duplicates, missing values, split, whole or nothing."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from examples.kuairand import prepare as kuairand
from examples.kuairand.prepare import prepare
from homespec.data import DataError

LOG = """\
user_id,video_id,date,hourmin,time_ms,is_click
7,1,20220502,100,11,1
8,2,20220502,200,12,0
7,1,20220502,100,11,1
9,3,20220503,300,13,1
7,1,20220503,100,14,0
"""
USERS = """\
user_id,is_live_streamer,onehot_feat4,follow_user_num_range
8,-124,,0
7,1,3.0,"(0,10]"
"""
VIDEOS = """\
video_id,video_duration,ratio,tag
3,5000.0,0.5,12
2,,1.5,""
1,87433.0,1.0,39
"""
HISTORY = """\
user_id,video_id,pos,long_view,is_like
7,1,0,1,0
7,2,1,1,1
5,1,0,0,0
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The files of a very small log."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "log_standard_4_25_to_5_04_pure.csv").write_text(LOG)
    (folder / "user_features_pure.csv").write_text(USERS)
    (folder / "video_features_basic_pure.csv").write_text(VIDEOS)
    return folder


def tables(out: Path) -> tuple[pa.Table, pa.Table]:
    return pq.read_table(out / "train.parquet"), pq.read_table(out / "valid.parquet")


def test_other_days_are_held_out(source: Path, tmp_path: Path) -> None:
    log = source / "log_standard_4_25_to_5_04_pure.csv"
    log.write_text(LOG + "8,1,20220430,100,9,1\n")
    days = {"valid_from": 20220502, "valid_until": 20220502}
    assert prepare(source, tmp_path / "out", **days)
    train, valid = tables(tmp_path / "out")
    assert train["time_ms"].to_pylist() == [9]
    assert valid["time_ms"].to_pylist() == [11, 12]
    assert valid["user_past_views"].to_pylist() == [0, 1]
    assert not prepare(source, tmp_path / "out", **days)
    assert prepare(source, tmp_path / "out")  # as before: later days are rows again


def test_split_by_date_without_duplicates_in_order(source: Path, tmp_path: Path) -> None:
    assert prepare(source, tmp_path / "out")
    train, valid = tables(tmp_path / "out")
    assert train["time_ms"].to_pylist() == [11, 12]
    assert valid["time_ms"].to_pylist() == [13, 14]
    assert train.schema == valid.schema


def test_joined_features_and_missing_values(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "out")
    table = pa.concat_tables(tables(tmp_path / "out")).to_pydict()
    assert table["user_id"] == [7, 8, 9, 7]
    assert table["is_live_streamer"] == [1, None, None, 1]  # -124; user 9 has no features
    assert table["onehot_feat4"] == [3, None, None, 3]
    assert table["follow_user_num_range"] == ["(0,10]", "0", None, "(0,10]"]
    assert table["video_duration"] == [87433, None, 5000, 87433]
    assert table["ratio"] == [1.0, 1.5, 0.5, 1.0]
    assert table["tag"] == ["39", None, "12", "39"]  # text, though it looks like numbers
    types = {field.name: field.type for field in tables(tmp_path / "out")[0].schema}
    assert types["onehot_feat4"] == types["video_duration"] == pa.int64()
    assert types["ratio"] == pa.float64()


def test_priors_come_from_the_history(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "without")
    (source / "history_before_4_25.csv").write_text(HISTORY)
    prepare(source, tmp_path / "with")
    without, train = (tables(tmp_path / name)[0] for name in ("without", "with"))
    assert without.schema.equals(train.schema)
    assert without["user_prior_like"].null_count == len(without)
    assert train["user_prior_views"].to_pylist() == [2, None]
    assert train["video_prior_views"].to_pylist() == [2, 1]
    smoothed = [(2 + 10 * 2 / 3) / 12, None]
    assert train["user_prior_long_view"].to_pylist() == pytest.approx(smoothed)
    assert train["video_prior_like"].to_pylist() == pytest.approx([10 / 3 / 12, (1 + 10 / 3) / 11])


EVENTS = HISTORY.replace("7,2,1,1,1", "7,3,3,0,0\n7,2,1,1,1\n7,9,2,1,0")
LOG_WITH_VIEWS = """\
user_id,video_id,date,hourmin,time_ms,is_click,long_view,is_like
7,1,20220501,100,11,1,1,0
7,2,20220501,100,12,1,0,1
8,2,20220502,200,13,0,0,0
7,3,20220502,100,14,1,1,1
9,3,20220503,300,15,1,1,0
7,1,20220503,100,16,0,0,0
7,2,20220504,100,17,0,0,0
"""


def events(out: Path, column: str) -> list[list[int | str | None] | None]:
    found: list[list[int | str | None] | None] = []
    for part in tables(out):
        found += part[f"history_{column}"].to_pylist()
    return found


def test_events_of_the_history_in_their_order(source: Path, tmp_path: Path) -> None:
    (source / "video_features_basic_pure.csv").write_text(
        'video_id,author_id,tag\n3,30,"12,5"\n2,20,\n1,10,39\n'
    )
    (source / "history_before_4_25.csv").write_text(EVENTS)
    prepare(source, tmp_path / "out")
    out = tmp_path / "out"
    assert events(out, "video_id") == [[1, 2, 9, 3], None, None, [1, 2, 9, 3]]  # users 7 8 9 7
    assert events(out, "long_view")[0] == [1, 1, 1, 0]
    assert events(out, "is_like")[0] == [0, 1, 0, 0]
    assert events(out, "author_id")[0] == [10, 20, None, 30]  # video 9 is unknown
    assert events(out, "tag")[0] == [39, None, None, 12]  # the first one
    train, valid = tables(out)
    assert [*train["first_tag"].to_pylist(), *valid["first_tag"].to_pylist()] == [
        39, None, 12, 39,
    ]  # fmt: skip
    (source / "history_before_4_25.csv").unlink()
    prepare(source, tmp_path / "without")
    assert tables(tmp_path / "without")[0].schema.equals(train.schema)
    assert events(tmp_path / "without", "tag") == [None] * 4


def test_at_most_fifty_events_the_latest(source: Path, tmp_path: Path) -> None:
    rows = "".join(f"7,{pos},{pos},0,0\n" for pos in range(70))
    (source / "history_before_4_25.csv").write_text(
        "user_id,video_id,pos,long_view,is_like\n" + rows
    )
    prepare(source, tmp_path / "out")
    assert events(tmp_path / "out", "video_id")[0] == list(range(20, 70))


def test_days_of_the_log_are_an_option(source: Path, tmp_path: Path) -> None:
    """Only days before the impression's own, none of the held-out days."""
    (source / "log_standard_4_25_to_5_04_pure.csv").write_text(LOG_WITH_VIEWS)
    (source / "history_before_4_25.csv").write_text(
        "user_id,video_id,pos,long_view,is_like\n7,5,0,0,0\n"
    )
    out = tmp_path / "out"
    assert prepare(source, out)
    assert events(out, "video_id") == [[5], [5], None, [5], None, [5], [5]]
    assert prepare(source, out, log_days=True)
    assert events(out, "video_id") == [
        [5], [5], None, [5, 1, 2],  # user 7 on 1 May, twice; user 8; user 7 on 2 May
        None, [5, 1, 2, 3], [5, 1, 2, 3],  # user 9; user 7 on 3 and 4 May
    ]  # fmt: skip
    assert events(out, "is_like")[-1] == [0, 0, 1, 1]
    assert not prepare(source, out, log_days=True)
    (source / "history_before_4_25.csv").unlink()
    assert prepare(source, out, log_days=True)
    assert events(out, "video_id")[3:] == [[1, 2], None, [1, 2, 3], [1, 2, 3]]
    (source / "log_standard_4_25_to_5_04_pure.csv").write_text(LOG)
    with pytest.raises(DataError, match="lacks the column long_view, which --log-days needs"):
        prepare(source, out, log_days=True)


def test_a_history_that_overlaps_the_log_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "history_before_4_25.csv").write_text(HISTORY)
    (source / "log_standard_4_08_to_4_21_pure.csv").write_text(LOG.replace("0220502", "0220408"))
    with pytest.raises(DataError, match="would leak"):
        prepare(source, tmp_path / "out")


EARLY = """\
user_id,video_id,date,hourmin,time_ms,is_click,long_view,is_like
7,2,20220424,100,9,1,1,1
5,1,20220421,100,3,0,0,0
7,1,20220408,100,2,0,1,0
7,1,20220408,100,2,0,1,0
"""


def test_the_log_before_makes_the_history(source: Path, tmp_path: Path) -> None:
    """Without the file that KuaiRand does not publish, the same files as with it."""
    log = source / "log_standard_4_25_to_5_04_pure.csv"
    log.write_text(LOG_WITH_VIEWS)
    (source / "history_before_4_25.csv").write_text(HISTORY)
    prepare(source, tmp_path / "with", log_days=True)
    (source / "history_before_4_25.csv").unlink()
    early = source / "log_standard_4_08_to_4_21_pure.csv"
    early.write_text(EARLY)
    assert prepare(source, tmp_path / "from", log_days=True, history_from_log=True)
    one, other = (tables(tmp_path / name) for name in ("with", "from"))
    assert all(a.equals(b) for a, b in zip(one, other, strict=True))
    assert prepare(source, tmp_path / "from", log_days=True)  # the days before are rows now
    assert tables(tmp_path / "from")[0].num_rows == one[0].num_rows + 3


def test_of_a_long_log_the_latest_fifty_views(source: Path, tmp_path: Path) -> None:
    log = source / "log_standard_4_25_to_5_04_pure.csv"
    log.write_text(LOG_WITH_VIEWS)
    head, times = LOG_WITH_VIEWS.partition("\n")[0], [*range(70)]
    random.Random(0).shuffle(times)
    rows = [f"7,{time},20220409,100,{time},0,0,0\n9,5,20220409,100,{time},0,0,0" for time in times]
    early = source / "log_standard_4_08_to_4_21_pure.csv"
    early.write_text("\n".join([head, *rows]) + "\n")
    prepare(source, tmp_path / "out", history_from_log=True)
    assert events(tmp_path / "out", "video_id")[0] == list(range(20, 70))
    views = pa.concat_tables(tables(tmp_path / "out"))["user_prior_views"].to_pylist()
    assert views == [50, 50, None, 50, 50, 50, 50]  # users 7 7 8 7 9 7 7


def test_a_history_from_no_log(source: Path, tmp_path: Path) -> None:
    log = source / "log_standard_4_25_to_5_04_pure.csv"
    with pytest.raises(DataError, match="the column long_view, which --history-from-log needs"):
        prepare(source, tmp_path / "out", history_from_log=True)
    log.write_text(LOG_WITH_VIEWS)
    with pytest.raises(DataError, match=r"no impression before 20220425 .*: add .*log_standard_4_"):
        prepare(source, tmp_path / "out", history_from_log=True)
    (source / "history_before_4_25.csv").write_text(HISTORY)
    with pytest.raises(DataError, match=r"history_before_4_25\.csv is a history: leave out --hist"):
        prepare(source, tmp_path / "out", history_from_log=True)


def test_what_is_up_to_date_is_left_alone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (source / "bayes.json").write_text("{}")
    assert prepare(source, out)
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    assert set(before) == {"train.parquet", "valid.parquet", "prepared.json", "bayes.json"}
    assert not prepare(source, out)
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before
    (source / "bayes.json").unlink()
    assert prepare(source, out)
    assert not (out / "bayes.json").exists()
    (out / "valid.parquet").unlink()
    assert prepare(source, out)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError("no space left")])
def test_an_interrupted_preparation_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    written: list[Path] = []

    def interrupted(table: pa.Table, path: Path, **options: object) -> None:
        written.append(Path(path))
        Path(path).write_bytes(b"half a file")
        if len(written) == 2:
            raise stop

    monkeypatch.setattr(kuairand.pq, "write_table", interrupted)
    with pytest.raises((KeyboardInterrupt, OSError)):
        prepare(source, tmp_path / "out")
    assert len(written) == 2
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupted_preparation_leaves_the_old_files(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(source, tmp_path / "out")
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    (source / "user_features_pure.csv").write_text(USERS.replace("-124", "0"))
    monkeypatch.setattr(kuairand.pq, "write_table", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(source, tmp_path / "out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


KILLED = """
import os, signal, sys
from pathlib import Path
from examples.kuairand import prepare as kuairand
def killed(table, path, **options):
    Path(path).write_bytes(b"half a file")
    if "valid" in str(path):
        os.kill(os.getpid(), signal.SIGKILL)
kuairand.pq.write_table = killed
kuairand.prepare(*map(Path, sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_preparation_leaves_nothing_under_a_name_that_counts(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(source), str(out)]
    assert subprocess.run(command, check=False).returncode == -9
    assert all(path.name.startswith(".") for path in out.iterdir())
    assert prepare(source, out)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("user_features_pure.csv", None, r"holds no user_features_\*\.csv: give the folder"),
        ("video_features_basic_pure.csv", "a,b\n1,2\n", "lacks the column video_id"),
        ("log_standard_4_25_to_5_04_pure.csv", "a,b\n1\n", "cannot be read as CSV"),
        ("log_standard_4_25_to_5_04_pure.csv", LOG.replace("0220503", "0220502"), "side of the"),
    ],
)  # fmt: skip
def test_bad_sources(
    source: Path, tmp_path: Path, file: str, text: str | None, message: str
) -> None:
    (source / file).unlink()
    if text is not None:
        (source / file).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        prepare(source, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


PRIORS = "user_prior_views, user_prior_long_view, user_prior_like, video_prior_views"


def test_it_says_what_is_not_there_and_empty_for_it(source: Path, tmp_path: Path) -> None:
    (source / "log_standard_4_25_to_5_04_pure.csv").write_text(LOG_WITH_VIEWS)
    arguments = [str(source), str(tmp_path / "out")]
    for more, empty in (([], True), ([], True), (["--log-days"], False)):
        said = CliRunner().invoke(kuairand.main, [*arguments, *more]).output
        absent = f"{source}/history_before_4_25.csv is not there; empty without it: {PRIORS}"
        assert absent in said
        assert ("history_video_id" in said) == empty
        assert "KuaiRand does not publish this file. It has the last 50 impressions" in said
        others = "empty since the CSV files have no values for them: user_past_finish, user_past_"
        assert others in said
    (source / "history_before_4_25.csv").write_text(HISTORY)
    said = CliRunner().invoke(kuairand.main, arguments).output
    assert "history" not in said
    assert said.count("\n") == 2


def test_it_says_all_that_it_cannot_do_without(source: Path, tmp_path: Path) -> None:
    (source / "log_standard_4_25_to_5_04_pure.csv").unlink()
    (source / "video_features_basic_pure.csv").unlink()
    with pytest.raises(DataError, match=r"holds no log_standard_\*\.csv and no video_features_bas"):
        prepare(source, tmp_path / "out")


@pytest.mark.parametrize("name", ["log_standard_9.csv", "history_before_4_25.csv.gz", "bayes.json"])
def test_a_fifo_is_no_file(source: Path, tmp_path: Path, name: str) -> None:
    os.mkfifo(source / name)
    with pytest.raises(DataError, match=f"{name} is a FIFO, not a file"):
        prepare(source, tmp_path / "out")


def test_command(source: Path, tmp_path: Path) -> None:
    arguments = [str(source), str(tmp_path / "out")]
    first, second = (CliRunner().invoke(kuairand.main, arguments) for _ in range(2))
    assert "2 train and 2 valid rows written" in first.output
    assert "up to date" in second.output
    shutil.rmtree(source)
    gone = CliRunner().invoke(kuairand.main, arguments)
    assert gone.exit_code == 2
    assert gone.output.startswith("error: ")
    assert gone.output.count("\n") == 1
