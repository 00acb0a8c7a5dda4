"""Lists as other programs write them: with separators of their own, and filled up with a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import homespec
from homespec.cli.data_tables import tables
from homespec.data import DataError
from homespec.data.data_files import open_files
from homespec.data.data_rules import check
from homespec.data.in_memory import load_rows
from homespec.data.plan import Plan
from homespec.data.profiled import ProfiledData
from homespec.data.profiler import profile

TAGS = "tags: {id: {buckets: 1000}, dim: 2, list: {max_len: 3, OPTIONS}}"
HISTORY = (
    "v: {id: {buckets: 1000}, dim: 2}\n  h: {sequence: {of: [v], with: {n: {bucketize: [1.5],"
    " dim: 2}}, max_len: 2, encoder: mean, OPTIONS}}"
)


def read(feature: str, options: str, **columns: Any) -> dict[str, list[Any]]:
    text = f"homespec: 1\nname: s\nfamily: mmoe\nfeatures:\n  {feature}\ntasks: {{y: {{}}}}\n"
    spec = homespec.loads(text.replace("OPTIONS", options)).analysis.spec
    rows = len(next(iter(columns.values())))
    table = pa.table({"y": [0] * rows} | columns)
    found = Plan.of(spec).convert(table).features
    return {name: array.tolist() for name, array in found.items()}


@pytest.mark.parametrize("mark", ["|", "^", "#", ":", "\x01", "\x1d", "~", ","])
def test_a_separator_alone_separates(mark: str) -> None:
    option = f'separator: "{mark}"'.encode("unicode_escape").decode()
    texts = [f"7{mark} 12 {mark}9{mark}4", f"{mark}8", "", None, f"a b{mark}[c"]
    given = read(TAGS, option, tags=texts)["tags"]
    assert given[:4] == [[7, 12, 9], [-1, 8, -1], [-1] * 3, [-1] * 3]
    same = read(TAGS, "pool: sum", tags=[["a b", "[c"]])["tags"]
    assert given[4] == same[0]


def test_without_one_it_is_part_of_an_id() -> None:
    text = read(TAGS, "pool: sum", tags=["7|12", "7 12"])["tags"]
    assert text[1] == [7, 12, -1]
    assert text[0][1:] == [-1, -1]


def test_lists_of_parquet_need_none() -> None:
    assert read(TAGS, 'separator: "|"', tags=[[7, 12]])["tags"] == [[7, 12, -1]]


def test_padding_is_taken_out_before_lists_are_cut() -> None:
    lists = [[5, 8, 0, 0], [0, 0, 3], None, [0], [0, 1, 0, 2, 3, 4]]
    found = read(TAGS, "padding: 0", tags=lists)["tags"]
    assert found == [[5, 8, -1], [3, -1, -1], [-1] * 3, [-1] * 3, [1, 2, 3]]
    words = [["a", "PAD"], ["PAD"], ["PAD", "b", None, "c"]]
    found = read(TAGS, "padding: PAD", tags=words)["tags"]
    assert [[value != -1 for value in row] for row in found] == [
        [True, False, False], [False] * 3, [True, False, True]]  # fmt: skip


def test_the_other_columns_lose_what_is_at_its_places() -> None:
    found = read(HISTORY, "padding: 0", v=[1, 1], h_v=[[4, 5, 6, 0], [0, 7]],
                 h_n=[[1.0, 2.0, 3.0, 4.0], [5.0, None]])  # fmt: skip
    assert found["h.v"] == [[5, 6], [7, -1]]
    np.testing.assert_array_equal(found["h.n"], [[2.0, 3.0], [np.nan, np.nan]])
    weighted = TAGS.replace("OPTIONS", "OPTIONS, weights: w")
    found = read(weighted, "padding: 0", tags=[[0, 4, 5, 6]], w=[[9.0, 1.0, 2.0, 3.0]])
    assert found == {"tags": [[4, 5, 6]], "tags.weights": [[1.0, 2.0, 3.0]]}


def test_numbers_are_padded_with_numbers() -> None:
    prices = "p: {bucketize: [1], dim: 2, list: {max_len: 3, OPTIONS}}"
    found = read(prices, "padding: -1.0", p=[[2.5, -1.0, None, 3.0]])["p"]
    np.testing.assert_array_equal(found, [[2.5, np.nan, 3.0]])
    with pytest.raises(DataError, match="`p` holds numbers, but the padding 'PAD' is not a number"):
        read(prices, "padding: PAD", p=[[2.5]])


@pytest.mark.parametrize(
    ("column", "code"),
    [([[*range(1, 1 + i % 4), *[0] * (4 - i % 4)] for i in range(400)], "HS518"),
     ([f"{i % 7}|{i % 5}" for i in range(400)], "HS519")],
)  # fmt: skip
def test_what_check_data_proposes_mends_it(tmp_path: Any, column: Any, code: str) -> None:
    path = tmp_path / "train.parquet"
    columns = {"u": np.arange(400), "y": np.arange(400) % 2, "tags": column}
    pq.write_table(pa.table(columns), path)
    row, help_ = "u: {id: {buckets: 1000}, dim: 2}", ""
    for found in ([code], []):
        feature = TAGS.replace("OPTIONS", help_ or "pool: sum")
        loaded = homespec.loads(
            f"homespec: 1\nname: s\nfamily: mmoe\nfeatures:\n  {row}\n  {feature}\n"
            "tasks: {y: {}}\n"
        )
        files = open_files([path])
        said = check(ProfiledData(loaded, loaded.analysis.document, profile(loaded, files)))
        said = [d for d in said if d.rule.code in ("HS518", "HS519")]
        assert not any("event" in f"{d.message} {d.label}" for d in said)
        assert [d.rule.code for d in said] == found
        help_ = said[0].help.split("`")[1] if found else ""
        load_rows(loaded, files)


def test_check_data_calls_lists_and_their_values_by_name(tmp_path: Any) -> None:
    path = tmp_path / "train.parquet"
    rows = {"w": [[1.0] * 5] * 400, "tags": [["a", "b", "c", "d", "e"]] * 400, "c": ["US"] * 400}
    pq.write_table(pa.table({"y": np.arange(400) % 2, **rows}), path)
    feature = TAGS.replace("OPTIONS", "weights: w")
    loaded = homespec.loads(
        f"homespec: 1\nname: s\nfamily: mmoe\nfeatures:\n  {feature}\n"
        "  c: {id: {vocab: [DE, FR]}, dim: 2}\ntasks: {y: {}}\n"
    )
    document = loaded.analysis.document
    data = ProfiledData(loaded, document, profile(loaded, open_files([path])))
    shown = tables(data, color=False)
    assert "id list" in shown
    assert "weight list" in shown
    assert "e+18" not in shown  # an unknown word has no place that says anything
    said = check(data)
    assert any("have more than 3 values in `tags`, up to 5" in d.message for d in said)
    assert any(str(d.help).endswith("or remove `weights`") for d in said)
    assert not any("event" in d.message for d in said)
