"""The template for a table: UCI's files and named ones give the same rows; labels are no inputs."""

from __future__ import annotations

import gzip
import re
import textwrap
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import homespec
from examples.census.prepare import COLUMNS, main, prepare
from homespec.data.plan import Plan
from homespec.data.splits import open_splits

ROOT = Path(__file__).parents[2]


def row(**values: str) -> list[str]:
    """A row of UCI's: numbers are 0, text is `NA`, but for `values`."""
    common = dict.fromkeys(COLUMNS, "NA")
    numbers = ("age", "wage_per_hour", "capital_gains", "capital_losses", "dividends_from_stocks")
    numbers += ("num_persons_worked_for_employer", "weeks_worked_in_year")
    return [*(common | dict.fromkeys(numbers, "0") | values).values()]


ROWS = [
    row(age="73", marital_stat="Widowed", income="- 50000."),
    row(age="58", marital_stat="Never married", income="50000+.", sex="Male"),
    row(age="9", marital_stat="Never married", income="- 50000."),
]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """As UCI publishes it: no names, a blank after each comma."""
    path = tmp_path / "census-income.data"
    path.write_text("".join(", ".join(cells) + "\n" for cells in ROWS))
    return path


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """With a line of names, gzipped, the labels written 0 and 1."""
    names = ",".join(COLUMNS).replace("migration_code_", "migration_code-")
    lines = [",".join([*cells[:-1], str(int("+" in cells[-1]))]) for cells in ROWS]
    path = tmp_path / "named.csv.gz"
    path.write_bytes(gzip.compress("\n".join([names, *lines, ""]).encode()))
    return path


def test_both_forms_give_the_same_rows(raw: Path, named: Path, tmp_path: Path) -> None:
    assert prepare(raw, named, tmp_path / "out") == {"train": 3, "valid": 3}
    train, valid = (pq.read_table(tmp_path / "out" / f"{n}.parquet") for n in ("train", "valid"))
    assert train.drop_columns("income").equals(valid.drop_columns("income"))
    plan = Plan.of(homespec.load(ROOT / "examples/census/census.yaml"))
    for table in (train, valid):
        labels = plan.convert(table).labels
        assert labels["income"].tolist() == [0, 1, 0]
        assert labels["married"].tolist() == [0, 1, 1]
    assert train["age"].to_pylist() == [73, 58, 9]
    assert train["sex"].to_pylist() == ["NA", "Male", "NA"]


def test_what_labels_are_made_from_is_no_input(raw: Path, tmp_path: Path) -> None:
    prepare(raw, raw, tmp_path)
    columns = set(pq.read_schema(tmp_path / "train.parquet").names)
    features = set(homespec.load(ROOT / "examples/census/census.yaml").features)
    of_sample = {"instance_weight", "year"}
    assert columns - features == {"income", "marital_stat"} | of_sample


def test_the_spec_is_clean() -> None:
    report = homespec.validate(ROOT / "examples/census/census.yaml")
    assert [d.message for d in report.diagnostics] == []


def test_the_split_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a log of one's own, which `check-data` then reads as both parts."""
    text = (ROOT / "examples/census/README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("prepared").mkdir()
    dates = [20240430, 20240430, 20240501, 20240502] * 5
    table = pa.table({"date": dates, "user": [f"u{i}" for i in range(20)], "click": [0, 1] * 10})
    exec(textwrap.dedent(code), {"pc": pc, "pq": pq, "table": table})
    train, held_out = open_splits([Path("prepared")])
    assert held_out is not None
    assert (train.rows, held_out.rows) == (10, 10)
    assert pq.read_table("prepared/valid.parquet")["date"].to_pylist() == dates[2:4] * 5


def test_a_copy_needs_nothing_of_this_project() -> None:
    """It may be run where only click and pyarrow are installed."""
    source = (ROOT / "examples/census/prepare.py").read_text("utf-8")
    modules = re.findall(r"^(?:from|import) ([\w.]+)", source, re.MULTILINE)
    assert {name.partition(".")[0] for name in modules} == {
        "__future__", "pathlib", "click", "pyarrow"
    }  # fmt: skip


def test_broken_files_are_named(raw: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"other\.csv cannot be read"):
        prepare(other, raw, tmp_path / "out")
    other.write_text("age,income,marital_stat\nold,1,2\n")
    with pytest.raises(ValueError, match=r"other\.csv: the column `age` is not numbers"):
        prepare(other, raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command(raw: Path, tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, [str(raw), str(raw), str(tmp_path / "out")])
    assert (ran.exit_code, ran.output) == (
        0,
        f"{tmp_path / 'out'}: 3 train and 3 valid rows written\n",
    )
    gone = CliRunner().invoke(main, [str(raw), str(tmp_path / "no.csv"), str(tmp_path / "out")])
    assert gone.exit_code == 2
    assert gone.output.startswith(f"error: {tmp_path / 'no.csv'} cannot be read")
