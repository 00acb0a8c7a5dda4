"""check-data: each rule finds what it is there for, and is silent on the mended twin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import homespec
from homespec.catalogue import all_rules
from homespec.cli.main import cli
from homespec.data import chunk_reader
from homespec.data.data_files import open_files
from homespec.data.data_rules import check
from homespec.data.distinct import Distinct, RowHashes
from homespec.data.plan import Plan
from homespec.data.profile import Profile
from homespec.data.profiled import ProfiledData
from homespec.data.profiler import profile
from homespec.installation import install_command
from homespec.schema.input_tensors import InputTensor

ROOT = Path(__file__).parents[2]
ROWS = 1000
SPEC = """\
homespec: 1
name: s
features:
  user: {id: {buckets: 1000}, dim: 4}
  tab: {id: {vocab: 5}, dim: 4}
  time: {column: seconds, bucketize: [1, 2], dim: 4}
  vector: {dense: 2}
groups: {g: [click, buy, minutes]}
tasks:
  click: {label: is_click, rate: 0.5}
  buy: {where: click, label: amount > 0}
  minutes: {kind: regression}
"""


def columns(**changes: Any) -> dict[str, Any]:
    """Columns on which nothing is to be said, with changes."""
    random = np.random.default_rng(0)
    click = random.integers(0, 2, ROWS)
    return {
        "user": [f"u{i}" for i in random.integers(0, 50, ROWS)],
        "tab": random.integers(0, 5, ROWS),
        "seconds": random.random(ROWS),
        "vector": [[float(i), 1.0] for i in range(ROWS)],
        "is_click": click,
        "amount": click * random.integers(0, 3, ROWS),
        "minutes": random.random(ROWS),
    } | changes


BASE = columns()


@dataclass
class Case:
    """Columns that break a rule, and a part of its message; `valid` breaks held-out rows."""

    changes: dict[str, Any]
    message: str
    line: int
    """The line of the place in the spec."""
    valid: dict[str, Any] | None = None
    drop: tuple[str, ...] = ()
    more: tuple[str, ...] = field(default_factory=tuple)
    """Other rules that have to speak, too."""


def some(column: str, count: int, value: Any) -> Any:
    """The column with another value in its first rows."""
    return np.array([value] * count + list(BASE[column])[count:])


CASES = {
    "HS501": Case({"second": BASE["seconds"]}, "no column `seconds`", 6, drop=("seconds",)),
    "HS502": Case({"vector": [[1.0]] * ROWS}, "list of 1 numbers, but the spec says 2", 7),
    "HS503": Case({"is_click": some("is_click", 3, 7)},
                  "label of `click` is 7, not 0 or 1, in 3 of 1,000 (0.30%) rows", 10),
    "HS504": Case({"tab": some("tab", 20, 6)},
                  "20 of 1,000 (2.0%) ids of `tab` are beyond the vocabulary, such as 6", 5),
    "HS505": Case({"amount": [1] * 10 + [0] * 990, "is_click": [0, 1] * 500},
                  "`buy` is 1 but `click` is 0 in 5 of 1,000 (0.50%) rows", 11),
    "HS506": Case({"seconds": [3.0] * ROWS}, "`seconds` is 3 in every row", 6),
    "HS507": Case({"seconds": [None] * 501 + [1.0, 2.0] * 250 + [None] * -1},
                  "`seconds` is missing in 501 of 1,001", 6),
    "HS508": Case({"is_click": [1] * 200 + [0] * 800, "amount": [1, 0] * 100 + [0] * 800},
                  "the rate of `click` is 0.2, not 0.5", 10),
    "HS509": Case({"amount": [0] * ROWS}, "the label of `buy` is 0 in all", 11),
    "HS511": Case({}, "the rate of `buy` is 0.", 11, valid={"amount": BASE["amount"] > 1}),
    "HS512": Case({}, "200 of 1,000 (20%) ids of `user` do not occur in", 4,
                  valid={"user": some("user", 200, "new")}),
    "HS514": Case({"user": np.arange(ROWS) % 50 * 1000 + 7},
                  "50 ids of `user` use 1 of 1,000 rows; 50 share a row with another id", 4),
    "HS515": Case({"user": [f"u{i}" for i in range(ROWS // 2)] * 2},
                  "199 of 500 (40%) ids of `user` share a row with another id: they use 392 of", 4),
    "HS516": Case({"minutes": BASE["minutes"] * 60_000},
                  "`minutes` is 3e+04 on average and spreads by 1.7e+04, in units of its", 12),
}  # fmt: skip
CASES["HS507"].changes["seconds"] = [None] * 501 + list(BASE["seconds"])[501:]
CASES["HS507"].message = "`seconds` is missing in 501 of 1,000 (50%) rows"


def write(path: Path, data: dict[str, Any]) -> Path:
    pq.write_table(pa.table(data), path)
    return path


def measured(
    tmp_path: Path, train: dict[str, Any], valid: dict[str, Any] | None = None
) -> ProfiledData:
    loaded = homespec.loads(SPEC)
    known = profile(loaded, open_files([write(tmp_path / "train.parquet", train)]))
    held_out = None
    if valid is not None:
        held_out = profile(loaded, open_files([write(tmp_path / "valid.parquet", valid)]), known)
    return ProfiledData(loaded, loaded.analysis.document, known, held_out)


@pytest.mark.parametrize("code", CASES)
def test_each_rule(tmp_path: Path, code: str) -> None:
    case = CASES[code]
    train = {k: v for k, v in columns(**case.changes).items() if k not in case.drop}
    valid = columns(**case.valid) if case.valid else None
    found = check(measured(tmp_path, train, valid))
    assert [d.rule.code for d in found] == [code]
    assert case.message in found[0].message
    part = "valid" if case.valid else "train"
    assert f"{tmp_path}/{part}.parquet" in found[0].message
    assert found[0].span.start.line == case.line
    assert found[0].help


def test_nothing_to_say(tmp_path: Path) -> None:
    assert check(measured(tmp_path, columns(), columns())) == []


def test_every_rule_of_data_is_tested() -> None:
    of_data = {code for code in all_rules() if code.startswith("HS5")}
    elsewhere = {
        "HS510",
        "HS513",
        "HS517",
        "HS518",
        "HS519",
        "HS520",
        "HS521",
        "HS523",
        "HS524",
        "HS525",
        "HS526",
        "HS527",
        "HS528",
        "HS529",
        "HS530",
        "HS531",
    }
    assert of_data == CASES.keys() | elsewhere


def test_repeated_rows(tmp_path: Path) -> None:
    def twice(rows: int) -> dict[str, Any]:
        return {name: [*list(v)[:rows], *v] for name, v in columns().items()}

    assert check(measured(tmp_path, twice(10))) == []
    (found,) = check(measured(tmp_path, twice(20)))
    assert found.rule.code == "HS513"
    assert "20 of 1,020 (2.0%) rows repeat another one" in found.message
    without = twice(20)
    del without["minutes"]  # rows that are equal may differ in what is not there
    assert [d.rule.code for d in check(measured(tmp_path, without))] == ["HS501"]


@pytest.fixture
def sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """The spec has a sequence of at most three events with two fields."""
    of = Plan.of

    def with_sequence(spec: Any, users: str | None = None) -> Plan:
        plan = of(spec, users)
        fields = tuple(
            InputTensor(f"user.{name}", "user", name, kind, length=3)
            for name, kind in (("videos", "id"), ("weights", "number"))
        )  # fmt: skip
        return Plan((*plan.tensors, *fields), plan.labels, plan.binary)

    monkeypatch.setattr(Plan, "of", with_sequence)


@pytest.mark.usefixtures("sequences")
def test_sequences(tmp_path: Path) -> None:
    def lists(sizes: list[int]) -> dict[str, Any]:
        videos = [None if size == 0 else list(range(size)) for size in sizes]
        weights = [None if size == 0 else [size / 2] * size for size in sizes]
        return columns(videos=videos, weights=weights)

    assert check(measured(tmp_path, lists([4] * 100 + [3] * 850 + [0] * 50))) == []
    data = measured(tmp_path, lists([4] * 100 + [9] + [3] * 800 + [0] * 99))
    found = check(data)
    assert [d.rule.code for d in found] == ["HS510", "HS510"]
    assert (
        "101 of 1,000 (10%) rows have more than 3 events in `videos`, up to 9" in found[0].message
    )
    feature = data.train.features["user.videos"]
    assert (feature.rows, feature.absent, feature.values) == (1000, 99, 400 + 9 + 2400)
    assert len(feature.distinct) == 9
    uneven = lists([2] * ROWS) | {"weights": [[1.0]] * ROWS}
    (found_one,) = check(measured(tmp_path, uneven))
    assert found_one.rule.code == "HS502"
    assert "2 events in `videos` and 1 in `weights`" in found_one.message


@pytest.mark.parametrize("number", [None, float("inf")])
def test_quantiles_of_nothing(tmp_path: Path, number: float | None) -> None:
    spec = homespec.loads(SPEC.replace("[1, 2]", "{quantiles: 4}"))
    source = open_files([write(tmp_path / "a.parquet", columns(seconds=[number] * ROWS))])
    found = check(ProfiledData(spec, spec.analysis.document, profile(spec, source)))
    assert [(d.rule.code, d.span.start.line) for d in found] == [("HS502", 6), ("HS506", 6)]
    assert "`seconds` holds no finite number, so 4 quantiles cannot be fitted" in found[0].message


def test_all_at_once(tmp_path: Path) -> None:
    """One broken column does not hide what is wrong with the others."""
    train = columns(user=[1.5] * ROWS, is_click=[2] * ROWS, seconds=["x"] * ROWS)
    del train["minutes"]
    found = check(measured(tmp_path, train))
    assert [d.rule.code for d in found] == ["HS501", "HS502", "HS502", "HS503"]
    assert "the column `user` is not an id: it has fractions" in found[1].message


def broken(column: str, row: int) -> dict[str, Any]:
    """Columns, one of which has in a row what it cannot hold."""
    values = list(columns(user=[str(i) for i in range(ROWS)], seconds=["1.5"] * ROWS)[column])
    wrong = {"user": "1e+30", "seconds": "x", "vector": [1.0], "is_click": "yes", "minutes": "?"}
    text = column in ("is_click", "minutes")
    values = [str(value) for value in values] if text else values
    values[row] = wrong[column]
    return columns(**{column: values})


@pytest.mark.parametrize("row", [0, 1, 37, 76, 77, 500, ROWS - 1])
@pytest.mark.parametrize("column", ["user", "seconds", "vector", "is_click", "minutes"])
def test_the_first_row_at_fault_is_named(
    tmp_path: Path, column: str, row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_reader, "SLAB_ROWS", 77)
    rows = broken(column, row)
    rows[column][row:] = [rows[column][row]] * (ROWS - row)  # many more follow
    (found,) = check(measured(tmp_path, rows))
    assert found.rule.code == "HS502"
    assert found.message.startswith(f"{tmp_path}/train.parquet, row {row} (from 0): ")


def test_rows_at_fault_are_numbered_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    for name, rows in (("a", columns()), ("b", broken("vector", 600)), ("c", columns())):
        pq.write_table(pa.table(rows), folder / f"{name}.parquet", row_group_size=250)
    loaded = homespec.loads(SPEC.replace("user: {id: {buckets: 1000}, dim: 4}\n  ", ""))
    problem = profile(loaded, open_files([folder])).features["vector"].problem
    assert problem.startswith(
        f"{folder}/b.parquet, row 600 (from 0): the column `vector` has a list of 1"
    )


def test_a_type_at_fault_has_no_row(tmp_path: Path) -> None:
    (found,) = check(measured(tmp_path, columns(seconds=[[1.0]] * ROWS)))
    assert f"{tmp_path}/train.parquet: the column `seconds` is list<" in found.message


def test_text_beyond_a_vocabulary_is_shown_as_it_is_written(tmp_path: Path) -> None:
    text = [str(tab) for tab in BASE["tab"]]
    (found,) = check(measured(tmp_path, columns(tab=["home", *text[1:]])))
    assert found.message.endswith("are beyond the vocabulary, such as 'home'")
    assert (
        found.help == "use `buckets` to hash them, or number them from 0 when you prepare the data"
    )


@pytest.mark.parametrize(
    ("label", "help_"),
    [
        (-1, "if -1 means that the label is not known, write `unknown: -1` in the spec, or null"
         " (in CSV an empty cell) in the data"),
        (7, "write `label: is_click > 0`, or `kind: regression` if the number itself is meant"),
    ],
)  # fmt: skip
def test_the_help_for_labels(tmp_path: Path, label: int, help_: str) -> None:
    (found,) = check(measured(tmp_path, columns(is_click=some("is_click", 3, label))))
    assert (found.rule.code, found.help) == ("HS503", help_)


def test_a_table_without_ids_of_anybody_may_repeat_rows(tmp_path: Path) -> None:
    def repeated(users: int) -> dict[str, Any]:
        few = columns(vector=[[1.0, 1.0]] * ROWS, seconds=[1.0, 2.0] * (ROWS // 2))
        few |= {"minutes": [3.0, 4.0] * (ROWS // 2)}
        return {n: [*v, *v, *v] for n, v in few.items()} | {"user": np.arange(3 * ROWS) % users}

    helps = {
        users: next(d.help for d in check(measured(tmp_path, repeated(users)))
                    if d.rule.code == "HS513")
        for users in (50, 1200)
    }  # fmt: skip
    assert helps[1200] == "remove the repetitions when you prepare the data"
    assert str(helps[50]).startswith("add a column that distinguishes rows, or ignore")


def test_a_product_presupposes_its_factors(tmp_path: Path) -> None:
    loaded = homespec.loads(
        "homespec: 1\nname: s\nfeatures: {f: {id: {buckets: 9}, dim: 4}}\ngroups: {g: [a, b]}\n"
        "tasks: {a: {}, b: {where: a}, ab: {product: [a, b]}}\n"
    )
    rows = {"f": [1, 2, 3, 4], "a": [1, 1, 0, 0], "b": [0, 1, 0, 0], "ab": [0, 1, 1, 0]}
    known = profile(loaded, open_files([write(tmp_path / "a.parquet", rows)]))
    assert known.tasks["b"].orphans == {"a": 0}
    assert known.tasks["ab"].orphans == {"a": 1, "b": 1}
    assert (known.tasks["b"].samples, known.tasks["b"].rate) == (2, 0.5)


def test_measures_do_not_depend_on_slabs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def numbers(part: Profile) -> list[Any]:
        features = [vars(f) | {"distinct": len(f.distinct)} for f in part.features.values()]
        return [part.rows, part.duplicates, features, [vars(t) for t in part.tasks.values()]]

    train = columns(tab=some("tab", 20, 6), seconds=[None, *list(BASE["seconds"])[1:]])
    train = {name: [*v, *v] for name, v in train.items()}
    whole = numbers(measured(tmp_path, train).train)
    assert whole[1] == ROWS
    monkeypatch.setattr(chunk_reader, "SLAB_ROWS", 77)
    parts = numbers(measured(tmp_path, train).train)
    for one, other in zip(parts[3], whole[3], strict=True):
        for sum_ in ("total", "squares"):
            assert one.pop(sum_) == pytest.approx(other.pop(sum_))
    assert parts == whole


def test_large_ids_are_told_apart(tmp_path: Path) -> None:
    ids = [2**62, 2**62 + 1] * 500  # equal as floats
    assert check(measured(tmp_path, columns(user=ids))) == []
    (found,) = check(measured(tmp_path, columns(user=[2**62] * ROWS)))
    assert (found.rule.code, "has one id in every row" in found.message) == ("HS506", True)


def test_distinct_values_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    distinct = Distinct()
    assert distinct.count_new(np.array([1, 1])) == 2
    distinct.add(np.array([3, 1, 3]))
    distinct.add(np.array([2**62]))
    assert len(distinct) == 3
    assert distinct.count_new(np.array([1, 2, 2, 2**62, 2**63 - 1])) == 3
    monkeypatch.setattr("homespec.data.distinct.MAX_VALUES", 2)
    distinct.add(np.array([9]))
    assert len(distinct) == 4
    assert distinct.full
    assert distinct.count_new(np.array([77])) == 0  # it cannot be told
    hashes = RowHashes()
    for _ in range(3):
        hashes.start(2)
        hashes.add(np.zeros(2, np.int64))
    assert hashes.repeated() == 0  # nor this


# ---------------------------------------------------------------- command line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(SPEC)
    return tmp_path


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(
        cli, ["check-data", *arguments], standalone_mode=False, catch_exceptions=False
    )
    return result.return_value or 0, result.stdout


def test_command(folder: Path) -> None:
    write(folder / "train.parquet", columns())
    write(folder / "valid.parquet", columns(tab=some("tab", 20, 6)))
    code, printed = invoke("s.yaml", ".")
    assert code == 0
    assert "1,000 rows in train.parquet" in printed
    assert "warning[HS504] unknown-ids: valid.parquet: 20 of 1,000 (2.0%) ids of `tab`" in printed
    assert " --> s.yaml:5:21\n" in printed
    assert printed.endswith("1 warning in 1 file\n")
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line[:2] == "  "}
    assert rows["user"] == ["id", "0.00%", "0.00%", "50", "50", "0.00%", "–"]
    assert rows["tab"] == ["id", "0.00%", "0.00%", "5", "–", "2.00%", "0", "to", "4"]
    assert invoke("s.yaml", ".", "--strict")[0] == 1
    code, printed = invoke("s.yaml", "train.parquet", "--strict")
    assert code == 0
    assert "HS5" not in printed
    broken = columns(is_click=[5] * ROWS)
    write(folder / "train.parquet", broken)
    assert invoke("s.yaml", "train.parquet", "--valid", "valid.parquet")[0] == 1


def test_files_that_are_not_read_are_named(folder: Path) -> None:
    """Those of both parts; on stderr, as they belong to no report."""
    for name in ("train/a", "train/_b", "valid/a", "valid/.c"):
        (folder / name).parent.mkdir(exist_ok=True)
        write(folder / f"{name}.parquet", columns())
    found = CliRunner().invoke(cli, ["check-data", "s.yaml", ".", "--format", "json"])
    assert found.exit_code == 0
    assert found.stderr.splitlines() == [
        f"not read, because their names begin with `.` or `_`: {name}.parquet"
        for name in ("train/_b", "valid/.c")
    ]
    json.loads(found.stdout)


def test_machine_formats_print_the_report_alone(folder: Path) -> None:
    write(folder / "a.parquet", columns(tab=some("tab", 20, 6)))
    _, printed = invoke("s.yaml", "a.parquet", "--format", "json")
    (found,) = json.loads(printed)["diagnostics"]
    assert (found["code"], found["span"]["file"]) == ("HS504", "s.yaml")
    _, printed = invoke("s.yaml", "a.parquet", "--format", "github")
    assert printed.startswith("::warning file=s.yaml,line=5,")


def test_csv(folder: Path) -> None:
    import pyarrow.csv

    data = pa.table(columns(vector=["0 1"] * 500 + ["[2, 3]"] * 500))
    pyarrow.csv.write_csv(data, folder / "a.csv")
    assert invoke("s.yaml", "a.csv", "--strict")[0] == 0


def test_ignored(folder: Path) -> None:
    write(folder / "a.parquet", columns(tab=some("tab", 20, 6)))
    (folder / "s.yaml").write_text(
        SPEC.replace("  tab:", "  # homespec: ignore[unknown-ids] two new tabs\n  tab:")
    )
    code, printed = invoke("s.yaml", "a.parquet", "--strict")
    assert (code, "HS504" in printed) == (0, False)
    result = CliRunner().invoke(cli, ["validate", "s.yaml"], standalone_mode=False)
    assert "HS018" not in result.stdout  # `validate` cannot tell whether it is of use


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["s.yaml", "no.parquet"], 2, "error: no.parquet does not exist"),
        (["s.yaml", "broken.parquet"], 2, "error: broken.parquet is not a parquet file"),
        (["s.yaml", "empty.csv"], 2, "error: empty.csv has no rows"),
        (["s.yaml"], 2, "Missing argument"),
        (["bad.yaml", "a.parquet"], 1, "error[HS102]"),
    ],
)
def test_exit_codes(folder: Path, arguments: list[str], code: int, message: str) -> None:
    (folder / "broken.parquet").write_text("PAR1")
    (folder / "empty.csv").write_text("a,b\n")
    (folder / "bad.yaml").write_text("homespec: 1\nname: s\n")
    result = run(folder, *arguments)
    assert (result.returncode, message in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr


def run(folder: Path, *arguments: str, script: str = "") -> subprocess.CompletedProcess[str]:
    command = ["-c", script, *arguments] if script else ["-m", "homespec", "check-data", *arguments]
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, encoding="utf-8", check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


BLOCKED = """
import sys
blocked = sys.argv[1].split(",")

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
from homespec.cli.main import cli, main
sys.argv = ["homespec", *sys.argv[2:]]
main()
"""


def test_it_needs_neither_torch_nor_lightning(folder: Path) -> None:
    write(folder / "a.parquet", columns())
    check_data = ("check-data", "s.yaml", "a.parquet")
    result = run(folder, "torch,lightning", *check_data, script=BLOCKED)
    assert result.returncode == 0, result.stderr
    result = run(folder, "pyarrow", *check_data, script=BLOCKED)
    assert result.returncode == 2
    assert f"pyarrow is missing: {install_command('data')}" in result.stderr


@pytest.mark.parametrize("package", ["torch", "lightning", "pyarrow", "safetensors"])
def test_training_names_the_extra_that_is_missing(folder: Path, package: str) -> None:
    result = run(folder, package, "train", "s.yaml", "--data", "a.parquet", script=BLOCKED)
    assert result.returncode == 2
    assert f"{package} is missing: {install_command('train')}" in result.stderr
