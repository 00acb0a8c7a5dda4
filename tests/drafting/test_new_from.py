"""`homespec new --from`: what it makes of columns, labels and leaks, and what it says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from made_tables import ROWS, log, new, table, written, written_of

import homespec
from homespec.cli.main import cli
from homespec.installation import install_command

RANDOM = np.random.default_rng(1)
LABEL = RANDOM.permutation(np.arange(ROWS) % 10 < 3).astype(int)
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_log(tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    pq.write_table(log(), "log.parquet")
    result = new(Path("log.parquet"), "--split", "prepared")
    assert result.exit_code == 0
    golden(HERE / "log.out", result.output)
    golden(HERE / "log.yaml", (tmp_path / "specs/t.yaml").read_text())
    assert homespec.validate("specs/t.yaml").diagnostics == ()


def test_the_commands_that_it_prints_lead_to_an_auc(tmp_path: Path) -> None:
    pq.write_table(log(), "my log.parquet")
    first = new(Path("my log.parquet"), "--rows", "1500", "--label", "is_click")
    assert "No rows are held out to measure on" in first.output
    split, check, train = (shlex.split(line) for line in first.output.splitlines()[-3:])
    for command, status in ((split, 0), (check, 0), ([*train, "--no-compile"], 0)):
        result = CliRunner().invoke(cli, command[1:])
        assert result.exit_code == status, result.output
    metrics = json.loads((tmp_path / "runs/t/metrics.json").read_text())
    assert metrics["tasks"]["click"]["auc"] > 0.6
    assert metrics["tasks"]["click"]["gauc"] > 0.5


def test_the_latest_rows_are_held_out(tmp_path: Path) -> None:
    pq.write_table(log(), "log.parquet")
    assert new(Path("log.parquet"), "--split", "prepared").exit_code == 0
    train, valid = (pq.read_table(tmp_path / f"prepared/{p}.parquet") for p in ("train", "valid"))
    assert (train.num_rows, valid.num_rows) == (1800, 200)
    assert max(train["date"].to_pylist()) < min(valid["date"].to_pylist()) == 20240510
    again = new(Path("log.parquet"), "--split", "prepared")
    assert again.exit_code == 0  # --force
    assert pq.read_table(tmp_path / "prepared/valid.parquet") == valid


QUANTILES = {"bucketize": {"quantiles": 32}}
SMALL = {"vocab": 12}
KINDS = {
    "few whole numbers": (RANDOM.integers(0, 12, ROWS), {"id": SMALL}),
    "whole numbers": (RANDOM.integers(0, 500, ROWS), QUANTILES),
    "numbers": (RANDOM.normal(size=ROWS), QUANTILES),
    "texts": (["US", "DE"] * (ROWS // 2), {"id": {"vocab": ["DE", "US"]}, "dim": 4}),
    "texts of numbers": ([str(i) for i in RANDOM.integers(0, 12, ROWS)], {"id": SMALL}),
    "booleans": (RANDOM.random(ROWS) < 0.5, {"id": {"vocab": 2}, "dim": 4}),
    "decimals": ([Decimal(int(i)) / 100 for i in RANDOM.integers(0, 999, ROWS)], QUANTILES),
    "float16": (RANDOM.normal(size=ROWS).astype(np.float16), {"number": {"scale": "standard"}}),
    "vectors": (list(RANDOM.normal(size=(ROWS, 3))), {"dense": 3}),
    "wide vectors": (list(RANDOM.normal(size=(ROWS, 200))), {"dense": 200, "project": 64}),
    "lists": (
        [[1, 2], [3]] * (ROWS // 2),
        {"id": {"buckets": 5}, "list": {"max_len": 2}, "dim": 4},
    ),
    "lists in text": (
        ["a|b", "c|b|d", "a", "d|a"] * (ROWS // 4),
        {"id": {"buckets": 50}, "list": {"max_len": 5, "separator": "|"}, "dim": 4},
    ),
    "a dictionary": (
        pa.array(["c", "d"] * (ROWS // 2)).dictionary_encode(),
        {"id": {"vocab": ["c", "d"]}, "dim": 4},
    ),
    "infinite numbers": (
        [1.5, float("inf"), 2.5, 3.5] * (ROWS // 4),
        {"bucketize": {"quantiles": 4}, "dim": 4},
    ),
    "vectors as text": (
        [f"{a:.3f} {b:.1e} {c:.3f}" for a, b, c in RANDOM.normal(size=(ROWS, 3))],
        {"dense": 3},
    ),
    "vectors with commas": (
        [f"{a:.3f},{b:.3f}" for a, b in RANDOM.normal(size=(ROWS, 2))],
        {"dense": 2},
    ),
    "large integers": (2**60 + RANDOM.integers(0, 9, ROWS), {"id": {"buckets": 100}, "dim": 4}),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds(tmp_path: Path, name: str) -> None:
    values, kind = KINDS[name]
    spec = written(tmp_path, table(thing=values, click=LABEL))
    assert spec["features"]["thing"] == kind


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([None] * ROWS, "every row is missing"),
        (["same"] * ROWS, 'every row is "same"'),
        ([f"key {row}" for row in range(ROWS)], "an id that occurs once teaches nothing"),
        (np.arange(ROWS), "it numbers the rows"),
        ([date(2024, 1, 1) + timedelta(days=row) for row in range(ROWS)], "a time"),
        ([datetime(2024, 1, 1) + timedelta(hours=row) for row in range(ROWS)], "a time"),
        ([f"2024-01-{1 + row % 28:02} 10:00" for row in range(ROWS)], "a time"),
        ([f"{1 + row % 28}/1/2024 10:00 AM" for row in range(ROWS)], "a time"),
        ([timedelta(seconds=row) for row in range(ROWS)], "duration: write it as"),
        ([{"a": 1}] * ROWS, "struct: write its parts as columns"),
        ([[[1]]] * ROWS, "lists of list"),
        ([b"\xff\xfe"] * ROWS, "bytes"),
        ([[1.5], [1.5, 2.0]] * (ROWS // 2), "neither ids nor vectors"),
        (RANDOM.random(ROWS) * 1e300, "choose another unit"),
        ([[]] * ROWS, "every list is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_left_out(tmp_path: Path, values: object, reason: str) -> None:
    spec = written(tmp_path, table(thing=values, age=RANDOM.integers(0, 99, ROWS), click=LABEL))
    assert [*spec["features"]] == ["age"]
    text = " ".join((tmp_path / "specs/t.yaml").read_text().replace("#", "").split())
    assert reason in text


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("created_at", 1.7e9 + np.arange(ROWS) / 7),
        ("time_ms", 1_700_000_000_000 + 7 * np.arange(ROWS)),
        ("month", [202400 + 1 + row % 12 for row in range(ROWS)]),
        ("day", [20240100 + 1 + row % 28 for row in range(ROWS)]),
        ("day", [1 + row * 9 // ROWS for row in range(ROWS)]),
    ],
)  # fmt: skip
def test_times_by_their_name(tmp_path: Path, name: str, values: object) -> None:
    for column, features in ((name, ["age"]), ("amount", ["amount", "age"])):
        rows = table(**{column: values}, age=RANDOM.integers(0, 99, ROWS), click=LABEL)
        assert [*written(tmp_path, rows)["features"]] == features


def test_days_that_come_again_are_an_input(tmp_path: Path) -> None:
    days = [1 + row % 7 for row in range(ROWS)]
    spec = written(tmp_path, table(day=days, age=RANDOM.integers(0, 99, ROWS), click=LABEL))
    assert [*spec["features"]] == ["day", "age"]


def test_what_describes_a_user_is_no_label(tmp_path: Path) -> None:
    user = RANDOM.integers(0, 100, ROWS)
    rows = table(user_id=user, is_followed=(user % 3 == 0).astype(int), bought=LABEL)
    spec = written(tmp_path, rows)
    assert [*spec["tasks"]] == ["bought"]
    assert [*spec["features"]] == ["user_id", "is_followed"]


def test_labels_that_are_cases_of_others_and_labels_of_two_columns(tmp_path: Path) -> None:
    buy = LABEL * (np.arange(ROWS) % 3 == 0)
    rows = table(
        click=LABEL, buy=buy, length=RANDOM.integers(1, 99, ROWS), cart=np.maximum(LABEL, buy),
        play=RANDOM.integers(1, 99, ROWS),
    )  # fmt: skip
    spec = written(tmp_path, rows, "--label", "click", "--label", "buy", "--label", "play > length")
    assert spec["tasks"]["play"]["label"] == "play > length"
    assert [*spec["features"]] == ["length"]
    assert "; 1 only where click is" in (tmp_path / "specs/t.yaml").read_text()


def test_histories_have_fields_of_candidates_and_of_their_own(tmp_path: Path) -> None:
    video, author = RANDOM.integers(0, 90, ROWS), RANDOM.integers(200, 260, ROWS)
    sizes = RANDOM.integers(0, 9, ROWS)
    rows = table(
        video_id=video, author_id=author, click=LABEL,
        hist_video=[RANDOM.integers(0, 90, size).tolist() for size in sizes],
        hist_author=[RANDOM.integers(200, 260, size).tolist() for size in sizes],
        hist_liked=[RANDOM.integers(0, 2, size).tolist() for size in sizes],
    )  # fmt: skip
    assert written(tmp_path, rows)["features"]["hist_video"] == {
        "sequence": {
            "of": ["video_id", "author_id"],
            "with": {"hist_liked": {"id": {"buckets": 5}, "dim": 4}},
            "max_len": 10,
            "encoder": "din",
            "columns": {"video_id": "hist_video", "author_id": "hist_author",
                        "hist_liked": "hist_liked"},
        }
    }  # fmt: skip


@pytest.mark.parametrize("ordered", [False, True])
def test_how_many_ids_all_rows_have_is_estimated(tmp_path: Path, ordered: bool) -> None:
    users = RANDOM.integers(0, 4000, 40_000)
    rows = table(user_id=np.sort(users) if ordered else users, click=np.resize(LABEL, 40_000))
    spec = written(tmp_path, rows, "--rows", "6000")
    assert 5000 <= spec["features"]["user_id"]["id"]["buckets"] <= 50_000
    text = (tmp_path / "specs/t.yaml").read_text().replace(",", "")
    [found] = re.findall(r"about (\d+) in all rows", text)
    assert 3400 < int(found) < 4600


def test_rows_that_are_held_out_already(tmp_path: Path) -> None:
    rows = log()
    for part in ("train", "valid"):
        pq.write_table(rows, tmp_path / f"{part}.parquet")
    for options in (("train.parquet", "--valid", "valid.parquet"), (".",)):
        result = new(Path(options[0]), *options[1:])
        assert result.exit_code == 0
        assert "No rows are held out" not in result.output
        assert result.output.splitlines()[-1].startswith("  homespec train specs/t.yaml --data")
        refused = new(Path(options[0]), *options[1:], "--split", "prepared")
        assert "--split holds rows out, and there are such already" in refused.output


def test_it_says_which_package_is_missing(tmp_path: Path) -> None:
    blocked = [sys.executable, "-c", BLOCKED, "new", "t", "--from", "rows.csv"]
    result = subprocess.run(blocked, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2
    assert f"pyarrow is missing: {install_command('data')}" in result.stderr


BLOCKED = """\
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "pyarrow"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
from homespec.cli.main import main
main()
"""


def test_a_leak_is_left_out(tmp_path: Path) -> None:
    noise = np.where(RANDOM.random(ROWS) < 0.001, 1 - LABEL, LABEL)
    rows = table(
        age=RANDOM.integers(0, 99, ROWS), refund=np.where(noise, RANDOM.random(ROWS), np.nan),
        watch_time=RANDOM.random(ROWS), bought=LABEL, click=RANDOM.integers(0, 2, ROWS),
    )  # fmt: skip
    spec = written(tmp_path, rows, "--label", "bought")
    assert [*spec["features"]] == ["age"]
    text = " ".join((tmp_path / "specs/t.yaml").read_text().split())
    assert "refund: it almost determines bought: AUC 0.99" in text or "AUC 1.000" in text
    assert "watch_time: its name suggests that it is known only after the event" in text
    assert "click: it may be another label: click, " in text


@pytest.mark.parametrize("name", ["request_id", "session", "Visit ID"])
def test_sessions_are_left_out(tmp_path: Path, name: str) -> None:
    rows = table(click=LABEL, request_kind=RANDOM.integers(0, 9, ROWS).astype(str))
    sessions = [f"s{row // 4}" for row in range(ROWS)]
    spec = written(tmp_path, rows.append_column(name, pa.array(sessions)))
    assert [*spec["features"]] == ["request_kind"]
    assert "its name suggests a session" in (tmp_path / "specs/t.yaml").read_text()


@pytest.mark.parametrize("thing", ["1 234.5", "1.234,5", "10.5.2024"])
def test_numbers_in_other_notations_are_not_vectors(tmp_path: Path, thing: str) -> None:
    texts = [f"{1 + row % 9}{thing}" for row in range(ROWS)]
    spec = written(tmp_path, table(click=LABEL, thing=texts, age=RANDOM.integers(0, 99, ROWS)))
    assert "dense" not in str(spec)


LABELS: dict[str, tuple[dict[str, object], tuple[str, ...], dict[str, object]]] = {
    "0 and 1": ({"a": LABEL}, (), {"a": {"label": "a", "rate": 0.3}}),
    "a name": ({"y": LABEL, "b": 1 - LABEL}, (), {"y": {"label": "y", "rate": 0.3}}),
    "stars": (
        {"rating": 1 + np.arange(ROWS) % 5}, (),
        {"rating": {"label": "rating >= 4", "rate": 0.4}},
    ),
    "the rarer of two texts": (
        {"y": [["> 50", "< 50"][i] for i in LABEL]}, (),
        {"y": {"label": 'y == "< 50"', "rate": 0.3}},
    ),
    "yes": (
        {"y": [["yes", "no"][i] for i in LABEL]}, (),
        {"y": {"label": 'y == "yes"', "rate": 0.7}},
    ),
    "-1 for unknown": (
        {"click": np.where(np.arange(ROWS) % 10 == 0, -1, np.sort(LABEL))}, (),
        {"click": {"label": "click", "unknown": -1, "rate": 0.3}},
    ),
    "1 and 2": ({"y": 1 + LABEL}, (), {"y": {"label": "y == 2", "rate": 0.3}}),
    "no word": ({"is click!": LABEL}, (), {"click": {"label": "`is click!`", "rate": 0.3}}),
    "a number": (
        {"stay": np.arange(ROWS)}, ("--label", "stay"),
        {"stay": {"label": "stay", "kind": "regression", "scale": 2000}},
    ),
    "a test": (
        {"stay": np.arange(ROWS)}, ("--label", "stay >= 1000"),
        {"stay": {"label": "stay >= 1000", "rate": 0.5}},
    ),
    "a name of torch": (
        {"is_forward": LABEL}, (), {"is_forward": {"label": "is_forward", "rate": 0.3}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LABELS)
def test_labels(tmp_path: Path, name: str) -> None:
    columns, options, tasks = LABELS[name]
    rows = table(age=RANDOM.integers(0, 99, ROWS), **columns)
    assert written(tmp_path, rows, *options)["tasks"] == tasks


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--label", "clik"), "there is no column `clik`; did you mean `click`?"),
        (("--label", "city"), "the column has 40 texts, such as"),
        (("--label", "age >"), "--label age >: expected a column or a number"),
        (("--label", "pairs"), "--label pairs: `pairs` holds no single numbers or texts"),
        (("--label", "pairs > 1"), "--label pairs > 1: `pairs` holds no single numbers or texts"),
        (("--label", "nothing"), "has no value in any row that was read"),
        ((), "2 columns have two values and no name that suggests a label: a (50%), b (50%)"),
    ],
)
def test_labels_that_are_not_known(options: tuple[str, ...], said: str) -> None:
    two = ["l", "r"] * (ROWS // 2)
    columns = {"click": LABEL} if options else {}
    pq.write_table(
        table(
            age=RANDOM.integers(0, 99, ROWS), nothing=[None] * ROWS, a=two, b=two[::-1],
            city=[f"c{row % 40}" for row in range(ROWS)], pairs=[[1, 2]] * ROWS, **columns,
        ),
        "rows.parquet",
    )  # fmt: skip
    result = new(Path("rows.parquet"), *options)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output
    assert not Path("specs").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its first line must name the columns"),
        ("a,b\n", "has no rows"),
        ("a;b;click\n1;2;0\n", "separates its cells by ';'"),
        ("a,a,click\n1,2,0\n", "each once"),
        ("7,1,x\n8,0,y\n9,1,x\n", "most columns have numbers for names"),
        ("a,click\n1,1\n", '`click` is "1" in every row: there is nothing to learn'),
        ("a,b\n1,1\n", "no column looks like a label"),
        ("click,like\n0,1\n1,0\n0,1\n1,0\n", "no column can be an input (all are labels)"),
    ],
)
def test_odd_csv_files(text: str, said: str) -> None:
    Path("rows.csv").write_text(text)
    result = new(Path("rows.csv"))
    assert result.exit_code == 2
    assert said in result.output


def test_one_row(tmp_path: Path) -> None:
    pq.write_table(table(a=[1], b=[None], c=["x"], click=[1]), "rows.parquet")
    result = new(Path("rows.parquet"), "--label", "click")
    assert result.exit_code == 2
    assert """no column can be an input ("a": every row is "1"; """ in result.output


def test_an_unnamed_first_column_and_a_byte_order_mark(tmp_path: Path) -> None:
    lines = "".join(f"{row},{row % 50},{LABEL[row]}\n" for row in range(500))
    Path("rows.csv").write_text("\ufeff,age,click\n" + lines)
    spec = written_of(tmp_path, Path("rows.csv"))
    assert [*spec["features"]] == ["age"]


def test_many_columns(tmp_path: Path) -> None:
    wide = {f"f{i}": RANDOM.lognormal(size=200) for i in range(500)}
    spec = written(tmp_path, table(**wide, click=LABEL[:200]))
    assert len(spec["features"]) == 500
    assert spec["features"]["f7"] == {"number": {"scale": "log"}}
    wider = {f"f{i}": RANDOM.integers(0, 40, 60) for i in range(1100)}
    spec = written(tmp_path, table(**wider, click=LABEL[:60]))
    assert len(spec["features"]) == 1024
    assert "a spec has 1,024 features at most" in (tmp_path / "specs/t.yaml").read_text()


def test_a_sample_is_the_same_each_time_and_says_what_it_is(tmp_path: Path) -> None:
    rows = table(user_id=RANDOM.integers(0, 800, ROWS), click=LABEL)
    written(tmp_path, rows, "--rows", "400")
    first = (tmp_path / "specs/t.yaml").read_text()
    assert "400 of 2,000 rows, in stretches that are evenly" in first.replace("\n# ", " ")
    assert "in all rows" in first
    written(tmp_path, rows, "--rows", "400")
    assert (tmp_path / "specs/t.yaml").read_text() == first


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    rows = table(age=RANDOM.integers(0, 99, ROWS), click=LABEL)
    written(tmp_path, rows)
    before = (tmp_path / "specs/t.yaml").read_text()
    result = CliRunner().invoke(cli, ["new", "t", "--from", "rows.parquet"])
    assert result.exit_code != 0
    assert "specs/t.yaml already exists; --force overwrites it" in result.output
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared/valid.parquet").write_bytes(b"mine")
    result = CliRunner().invoke(
        cli, ["new", "u", "--from", "rows.parquet", "--split", "prepared"]
    )  # fmt: skip
    assert "prepared/valid.parquet already exists" in result.output
    assert (tmp_path / "prepared/valid.parquet").read_bytes() == b"mine"
    assert not (tmp_path / "specs/u.yaml").exists()
    assert (tmp_path / "specs/t.yaml").read_text() == before


def test_options_of_from_alone() -> None:
    result = CliRunner().invoke(cli, ["new", "t", "--label", "y"])
    assert result.exit_code == 2
    assert "have no effect without --from" in result.output
