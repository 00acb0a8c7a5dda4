"""Ids: one cell has one id, whatever the type of its column and the format of its file."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import homespec
from homespec.data import DataError
from homespec.data.cell_ids import NUMBER, text_id
from homespec.data.columns import as_lists, ids, lengths, values
from homespec.data.data_files import open_files
from homespec.data.in_memory import load_rows
from homespec.data.profiler import profile
from homespec.schema.input_tensors import InputTensor

ROOT = Path(__file__).parents[2]
SPEC = homespec.loads(
    "homespec: 1\nname: s\nfeatures: {f: {id: {buckets: 100}, dim: 4}}\ngroups: {g: [y]}\n"
    "tasks: {y: {}}\n"
)


ID = InputTensor("f", "f", "f", "id")
EVENTS = InputTensor("f", "f", "f", "id", length=4)


def of(cells: Any, kind: pa.DataType = None) -> list[int]:
    return values(ID, pa.array(cells, kind)).tolist()  # type: ignore[no-any-return]


HASH_A = 4681665781835383343  # printf a | b2sum -l 64, without the highest bit
TEXTS = {
    "": -1, " ": -1, "NULL": -1, "null": -1, "NaN": -1, "nan": -1, "None": -1, "-1": -1, "-1.0": -1,
    "39": 39, " 39\t": 39, "39.": 39, "39.0": 39, "39.00": 39, "-7": -7, "0": 0, "-0": 0, "-0.0": 0,
    "1e3": 1000, "1E3": 1000, "1e+03": 1000, "1.5e3": 1500, "1.2345678E7": 12345678, "5000e-3": 5,
    "true": 1, "True": 1, "TRUE": 1, "false": 0, "False": 0,
    "9007199254740991.0": 2**53 - 1, "9007199254740993": 2**53 + 1,
    "9223372036854775807": 2**63 - 1, "-9223372036854775808": -(2**63),
    "9223372036854775808": -(2**63), "18446744073709551615": -1,
    "a": HASH_A, " a ": HASH_A,
}  # fmt: skip
HASHED = [
    "007", "-007", "+5", "1.5", "12,45", "0x1F", "1_000", ".5", "1e", "e3", "--1", "٣", "yes", "NA",
    "12345678901234e5", "1e99", "1e-3", "99999999999999999999", "-9223372036854775809", "ü", "1 2",
]  # fmt: skip


@pytest.mark.parametrize(("text", "number"), TEXTS.items())
def test_text(text: str, number: int) -> None:
    assert text_id(text) == number


@pytest.mark.parametrize("text", HASHED)
def test_other_text_is_hashed(text: str) -> None:
    assert text_id(text) > 2**32
    assert text_id(f"\n{text} ") == text_id(text)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (pa.int8(), [3, -5, None, -1], [3, -5, -1, -1]),
        (pa.int64(), [2**62, -(2**63)], [2**62, -(2**63)]),
        (pa.uint64(), [2**63 + 5, 2**64 - 1, 9, None], [5 - 2**63, -1, 9, -1]),
        (pa.float16(), [2047.0, None, float("nan")], [2047, -1, -1]),
        (pa.float32(), [-(2.0**24) + 1, -0.0], [1 - 2**24, 0]),
        (pa.float64(), [2.0**53 - 1, 1e3, -1.0, float("nan"), None], [2**53 - 1, 1000, -1, -1, -1]),
        (pa.bool_(), [True, False, None], [1, 0, -1]),
        (pa.decimal128(20, 2), [Decimal(3), Decimal(-7), None], [3, -7, -1]),
        (pa.decimal128(38, 0), [Decimal(2**53 + 1), Decimal(2**64 - 2)], [2**53 + 1, -2]),
        (pa.decimal128(38, 0), [Decimal("9" * 20)], [text_id("9" * 20)]),
        (pa.decimal128(9, -2), [Decimal(300)], [300]),
        (pa.decimal256(50, 1), [Decimal(5)], [5]),
        (pa.string_view(), ["7", "a", None, ""], [7, HASH_A, -1, -1]),
        (pa.large_string(), ["7", "a", None, ""], [7, HASH_A, -1, -1]),
        (pa.dictionary(pa.int8(), pa.string()), ["7", "a", None, ""], [7, HASH_A, -1, -1]),
        (pa.null(), [None], [-1]),
    ],
    ids=str,
)
def test_typed_columns(kind: pa.DataType, values: Any, expected: list[int]) -> None:
    assert of(values, kind) == expected


REFUSED: list[tuple[pa.DataType, Any, str]] = [
    (pa.float64(), 2.0**53, r"holds 9007199254740992: from 2\*\*53 on, a float64 stands for"),
    (pa.float64(), -1.5822e18, r"holds 1.5822e\+18: from 2\*\*53 on"),
    (pa.float32(), 2.0**24, r"holds 16777216: from 2\*\*24 on, a float32 stands"),
    (pa.float16(), np.float16(2048), r"holds 2048: from 2\*\*11 on, a float16 stands"),
    (pa.float64(), float("inf"), "holds an infinite number"),
    (pa.float64(), 1.5, "is not an id: it has fractions"),
    (pa.decimal128(9, 2), Decimal("1.5"), "is not an id, because it has fractions, such as 1.50"),
    (pa.decimal128(20, 1), Decimal(2**53), r"holds 9007199254740992.0: from 2\*\*53 on"),
    (pa.string(), "1.582218195625939e+18", r"holds 1.582218195625939e\+18: from 2\*\*53 on"),
    (pa.string(), "9007199254740992.0", ".*, a number with a point or an exponent may be"),
    (pa.string(), "1e+16", r"holds 1e\+16: from"),
]


@pytest.mark.parametrize(("kind", "value", "message"), REFUSED, ids=str)
def test_what_merges_ids_is_refused(kind: pa.DataType, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"feature `f`: the column `f` {message}"):
        of([None, value], kind)


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, value, _ in REFUSED[:1] + REFUSED[8:9]], ids=str
)
def test_training_and_check_data_refuse_it(tmp_path: Path, kind: pa.DataType, value: Any) -> None:
    """So do the columns of users, and events of sequences: all ids are made in one place."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"f": pa.array([None, value], kind), "y": [0, 1]}), path)
    with pytest.raises(DataError, match=r"a.parquet: feature `f`: the column `f` holds"):
        load_rows(SPEC, open_files([path]))
    assert "the column `f` holds" in profile(SPEC, open_files([path])).features["f"].problem


# ---------------------------------------------------------------- the same in CSV and in parquet


def same(folder: Path, column: pa.Array) -> list[int]:
    """The ids of a column, equal from both formats."""
    table = pa.table({"f": column, "y": pa.array([0] * len(column))})
    pq.write_table(table, folder / "a.parquet")
    decoded = table["f"].combine_chunks()
    if pa.types.is_dictionary(decoded.type):
        decoded = decoded.dictionary_decode()
    pyarrow.csv.write_csv(table.set_column(0, "f", decoded), folder / "a.csv")
    found = []
    for name in ("a.parquet", "a.csv"):
        held = load_rows(SPEC, open_files([folder / name]))
        assert held is not None
        found.append(held.features["f"].tolist())
    assert found[0] == found[1]
    return found[0]


WHOLE = st.integers(1 - 2**53, 2**53 - 1)
SPELLED = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=6),
    st.from_regex(NUMBER, fullmatch=True),
    WHOLE.map(str), WHOLE.map(float).map(repr), st.integers(0, 2**65).map(str),
    st.sampled_from([*TEXTS, *HASHED]),
).filter(lambda text: "\n" not in text)  # fmt: skip
COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "int8": (pa.int8(), st.integers(-128, 127)),
    "float64": (pa.float64(), st.one_of(WHOLE.map(float), st.just(float("nan")))),
    "float32": (pa.float32(), st.integers(1 - 2**24, 2**24 - 1).map(float)),
    "bool": (pa.bool_(), st.booleans()),
    "decimal, whole": (pa.decimal128(38, 0), st.integers(-(2**70), 2**70).map(Decimal)),
    "decimal": (pa.decimal128(20, 2), WHOLE.map(Decimal)),
    "text": (pa.string(), SPELLED),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), SPELLED),
}


@pytest.mark.parametrize("name", COLUMNS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_csv_and_parquet_agree(tmp_path: Path, name: str, data: st.DataObject) -> None:
    kind, cells = COLUMNS[name]
    column = pa.array(data.draw(st.lists(st.none() | cells, min_size=1, max_size=20)), kind)
    try:
        expected = ids(column).tolist()
    except DataError:  # a float that merges ids: refused in both
        with pytest.raises(DataError):
            same(tmp_path, column)
        return
    assert same(tmp_path, column) == expected


WORDS = st.from_regex(r"[A-Za-z0-9._|+-]{1,6}", fullmatch=True) | st.sampled_from(
    [text for text in [*TEXTS, *HASHED] if text.strip() and not re.search(r"[\s,;]", text)]
)
LISTS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int64": COLUMNS["int64"], "float64": COLUMNS["float64"], "bool": COLUMNS["bool"],
    "text": (pa.string(), WORDS),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_lists_of_csv_and_parquet_agree(name: str, data: st.DataObject) -> None:
    """As Python prints a list; the text in a cell of CSV is that of a column of text."""
    kind, elements = LISTS[name]
    lists = data.draw(st.lists(st.none() | st.lists(st.none() | elements, max_size=4), max_size=4))
    typed = as_lists(EVENTS, pa.array(lists, pa.list_(kind)))
    cells = [None if each is None else str(each) for each in lists]
    spelled = as_lists(EVENTS, pa.array(cells, pa.string()))
    try:
        expected = ids(typed.flatten()).tolist()
    except DataError:
        with pytest.raises(DataError):
            ids(spelled.flatten())
        return
    assert lengths(spelled).tolist() == lengths(typed).tolist()
    assert ids(spelled.flatten()).tolist() == expected


@pytest.mark.parametrize("cells", [[*TEXTS, *HASHED]], ids=["all of the vectors"])
@pytest.mark.parametrize("write", [pa.array, lambda cells: pa.array(cells).dictionary_encode()])
def test_the_vectors_in_both_formats(
    tmp_path: Path, cells: list[str], write: Callable[[list[str]], pa.Array]
) -> None:
    found = same(tmp_path, write([cell for cell in cells if "\n" not in cell]))
    assert found[: len(TEXTS)] == list(TEXTS.values())


def test_the_documented_vectors() -> None:
    """The table of docs/ids.md, cell by cell."""
    page = (ROOT / "docs" / "ids.md").read_text("utf-8")
    rows = re.findall(r"^\| `\"(.*)\"` \| `(-?\d+)` \| (\d+) \|$", page, re.MULTILINE)
    assert len(rows) >= 15
    for text, number, row in rows:
        assert text_id(text) == int(number), text
        assert int(row) == (0 if number == "-1" else 1 + int(number) % 1000), text
    refused = re.findall(r"^\| `\"(.*)\"` \| refused \|", page, re.MULTILINE)
    assert len(refused) == 2
    for text in refused:
        with pytest.raises(DataError):
            text_id(text)
