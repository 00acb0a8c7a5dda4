"""`homespec new --from`: columns that are easily misread: leaks, labels, lists, numbers as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_tables import ROWS, new, table, written

RANDOM = np.random.default_rng(1)
LABEL = RANDOM.permutation(np.arange(ROWS) % 10 < 3).astype(int)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_lists_that_are_empty_without_the_label_are_a_leak(tmp_path: Path) -> None:
    things = [[f"t{row % 40}", f"t{row % 7}"] for row in range(ROWS)]
    rows = table(
        age=RANDOM.integers(0, 99, ROWS), seen=things, bought=LABEL,
        items=[each if one else [] for each, one in zip(things, LABEL, strict=True)],
    )  # fmt: skip
    spec = written(tmp_path, rows, "--label", "bought")
    assert [*spec["features"]] == ["age", "seen"]
    text = " ".join((tmp_path / "specs/t.yaml").read_text().split())
    assert "items: how long its lists are almost determines bought: AUC 1.000" in text


def test_a_leak_of_a_rare_label_is_left_out(tmp_path: Path) -> None:
    rare = (np.arange(ROWS) % (ROWS // 20) == 3).astype(int)
    rows = table(
        age=RANDOM.integers(0, 99, ROWS), user_id=RANDOM.integers(0, 300, ROWS), bought=rare,
        height=RANDOM.random(ROWS), value=np.where(rare, RANDOM.random(ROWS), np.nan),
    )  # fmt: skip
    spec = written(tmp_path, rows)
    assert [*spec["features"]] == ["age", "user_id", "height"]


def test_ids_with_spaces_between_them_are_lists(tmp_path: Path) -> None:
    ids = [f"t-{number}" for number in range(40)]
    rows = table(
        item_id=[ids[row % 40] for row in range(ROWS)],
        recent_items=[" ".join(RANDOM.choice(ids, row % 5)) for row in range(ROWS)],
        tags=[" ".join(str(n) for n in RANDOM.integers(0, 90, row % 4)) for row in range(ROWS)],
        title=[" ".join(RANDOM.choice(["red", "blue", "no 5"], 3)) for _ in range(ROWS)],
        codes=[",".join(["101", "205", "330"][: row % 4]) for row in range(ROWS)], click=LABEL,
    )  # fmt: skip
    features = written(tmp_path, rows)["features"]
    assert features["recent_items"]["sequence"]["of"] == ["item_id"]
    assert "separator" not in features["tags"]["list"]
    assert "list" in features["codes"]
    assert "list" not in features["title"]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("{0},{1}", 'numbers written as "0,10": write digits and a decimal point alone'),
        ("${0},{1}0.5", 'numbers written as "$0,100.5"'),
        ("{0}{1} %", 'numbers written as "010 %"'),
    ],
)
def test_numbers_for_people_are_no_ids_and_no_lists(tmp_path: Path, form: str, said: str) -> None:
    prices = [form.format(row % 17, row % 29 + 10) for row in range(ROWS)]
    ips = [f"1.2.{row % 17}.{row % 5}" for row in range(ROWS)]
    spec = written(tmp_path, table(price=prices, ip=ips, click=LABEL))
    assert [*spec["features"]] == ["ip"]
    assert said in " ".join((tmp_path / "specs/t.yaml").read_text().split())


def test_numbers_that_are_not_all_numbers_are_said_to_be(tmp_path: Path) -> None:
    sizes = [f"{row / 7:.4f}" if row % 40 else "N/A" for row in range(ROWS)]
    written(tmp_path, table(age=RANDOM.integers(0, 99, ROWS), size=sizes, click=LABEL))
    text = " ".join((tmp_path / "specs/t.yaml").read_text().replace("#", "").split())
    assert 'size: numbers but for "N/A": null in its place makes them such' in text


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (range(5), "`label` may be the label, but it has 5 different values: say which count as"
         " positive, such as --label 'label >= 2', or predict the number itself"),
        (["l", "m", "s"], "say which count as positive, such as --label 'label == \"l\"'"),
        ([1, *[0] * (ROWS - 1)], "`label` is \"1\" in 1 of 2,000 rows: too few to learn"),
        ([0], "`label` is \"0\" in every row: there is nothing to learn"),
    ],
)  # fmt: skip
def test_a_label_that_is_not_0_and_1(values: Sequence[object], said: str) -> None:
    label = [values[row % len(values)] for row in range(ROWS)]
    rows = table(age=RANDOM.integers(0, 99, ROWS), label=label, mobile=LABEL)
    pq.write_table(rows, "rows.parquet")
    result = new(Path("rows.parquet"))
    assert result.exit_code == 2
    assert said in result.output
    pq.write_table(rows.append_column("click", rows["mobile"]), "rows.parquet")
    assert new(Path("rows.parquet")).exit_code == 0
    assert "label:" not in Path("specs/t.yaml").read_text().split("# Left out")[0]


def test_what_was_done_before_is_an_input(tmp_path: Path) -> None:
    before = RANDOM.integers(0, 2, (2, ROWS))
    rows = table(previous_purchase=before[0], clicked_before=before[1], purchase=LABEL)
    spec = written(tmp_path, rows)
    assert [*spec["features"]] == ["previous_purchase", "clicked_before"]
    assert [*spec["tasks"]] == ["purchase"]


def test_a_behaviour_that_is_counted_is_asked_about() -> None:
    counts = RANDOM.integers(0, 4, ROWS)
    rows = table(age=RANDOM.integers(0, 99, ROWS), purchase=counts, new=LABEL)
    pq.write_table(rows, "rows.parquet")
    result = new(Path("rows.parquet"))
    assert result.exit_code == 2
    assert "such as --label 'purchase > 0', or predict the number" in result.output


def test_the_other_column_of_a_label_is_marked(tmp_path: Path) -> None:
    prices = RANDOM.random((2, ROWS))
    rows = table(age=RANDOM.integers(0, 99, ROWS), listed=prices[0], sold=prices[1])
    spec = written(tmp_path, rows, "--label", "listed < sold")
    assert [*spec["features"]] == ["age", "sold"]
    text = (tmp_path / "specs/t.yaml").read_text()
    assert text.count("part of a label: is it known before?") == 1


def test_a_booking_is_a_label_wherever_its_column_is(tmp_path: Path) -> None:
    mobile = RANDOM.integers(0, 2, ROWS)
    rows = table(mobile=mobile, age=RANDOM.integers(0, 99, ROWS), is_booking=LABEL, n=mobile * 7)
    assert [*written(tmp_path, rows)["tasks"]] == ["booking"]


def test_numbers_of_merchants_and_campaigns_are_ids(tmp_path: Path) -> None:
    large = RANDOM.integers(10**9, 10**9 + 100, ROWS)
    rows = table(merchant=large, ad_campaign=large % 70 * 7, store_size=large % 50, click=LABEL)
    features = written(tmp_path, rows)["features"]
    assert ["id" in features[name] for name in features] == [True, True, False]
