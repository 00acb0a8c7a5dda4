"""Labels on columns: each form against Python on single cells, alike in parquet and CSV."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from homespec.data import DataError
from homespec.data.chunk_reader import slabs
from homespec.data.data_files import open_files
from homespec.data.label_values import labels, raw_labels
from homespec.data.plan import label_of
from homespec.schema.label_parser import parse_label
from homespec.schema.label_tokens import LabelError
from homespec.schema.models import Task

nan = math.nan
COLUMNS: dict[str, list[Any]] = {
    "marital": ["Never married", " Never married ", "Widowed", None, "NULL", "never married"],
    "country": ["US", "DE", "FR", None, "", "US"],
    "play ms": [800, 799, 0, None, 5, 10],
    "ms": [1000, 1000, 0, 7, None, 0],
    "stay": [-1, 0, 3, None, 2, -1],
    "score": [0.5, 0.1, -2.5, None, 7.0, 3.0],
}


def ratio(play: float | None, ms: float | None) -> float | None:
    return play / ms if play is not None and ms else None


def number(holds: Callable[..., bool]) -> Callable[..., float]:
    """The label of cells, one of which may be missing."""
    return lambda *cells: nan if None in cells else float(holds(*cells))


def text(holds: Callable[[str], bool]) -> Callable[[str | None], float]:
    def label(cell: str | None) -> float:
        bare = (cell or "").strip()
        return nan if bare in ("", "NULL") else float(holds(bare))

    return label


CASES: dict[str, tuple[Callable[..., float], tuple[str, ...]]] = {
    'marital == "Never married"': (text(lambda s: s == "Never married"), ("marital",)),
    "marital != 'Never married'": (text(lambda s: s != "Never married"), ("marital",)),
    "country in [US, DE]": (text(lambda s: s in ("US", "DE")), ("country",)),
    'country not in ["US"]': (text(lambda s: s != "US"), ("country",)),
    "country is null": (lambda s: 1.0 if s in (None, "") else 0.0, ("country",)),
    "country is not null": (lambda s: 0.0 if s in (None, "") else 1.0, ("country",)),
    "stay is null": (lambda s: float(s is None), ("stay",)),
    "stay in [0, -1]": (number(lambda s: s in (0, -1)), ("stay",)),
    "score not in [0.1, 7]": (number(lambda s: s not in (0.1, 7)), ("score",)),
    "`play ms` / ms >= 0.8": (
        lambda p, m: nan if ratio(p, m) is None else float(p / m >= 0.8), ("play ms", "ms")
    ),
    "0.8 * ms <= `play ms`": (number(lambda p, m: 0.8 * m <= p), ("play ms", "ms")),
    "`play ms` - ms < stay": (number(lambda p, m, s: p - m < s), ("play ms", "ms", "stay")),
    "stay + 1 == 0": (number(lambda s: s + 1 == 0), ("stay",)),
    "stay > 0": (number(lambda s: s > 0), ("stay",)),
    "stay >= score": (number(lambda s, f: s >= f), ("stay", "score")),
}  # fmt: skip


def table_of(kind: str, folder: Path, columns: dict[str, list[Any]] = COLUMNS) -> pa.Table:
    """The columns as they are read from a file."""
    path = folder / f"rows.{kind}"
    if kind == "csv":
        pd.DataFrame({n: pd.Series(v, dtype=object) for n, v in columns.items()}).to_csv(
            path, index=False
        )
    else:
        pq.write_table(pa.table(columns), path)
    files = open_files([path])
    schema = files.schema(dict.fromkeys(columns, "a test"), frozenset())
    (table,) = slabs(files, schema)
    return table


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("text", CASES)
def test_each_form_is_that_of_single_cells(tmp_path: Path, text: str, kind: str) -> None:
    formula, names = CASES[text]
    label = parse_label(text)
    assert label.columns == tuple(dict.fromkeys(label.columns))
    assert set(label.columns) == set(names)
    expected = [formula(*cells) for cells in zip(*(COLUMNS[n] for n in names), strict=True)]
    found = labels("task `t`", label, table_of(kind, tmp_path), binary=True)
    np.testing.assert_array_equal(found, np.array(expected, np.float32))
    assert parse_label(str(label)) == label


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_an_unknown_value_is_a_cell_that_is_empty(tmp_path: Path, kind: str) -> None:
    columns = {"y": [1, -1, 0, None], "stay": [5.0, -1.0, 0.0, -2.0],
               "class": ["a", " ? ", "b", None]}  # fmt: skip
    table = table_of(kind, tmp_path, columns)
    for text, unknown, expected in (
        ("y", -1.0, [1, nan, 0, nan]),
        ("stay > 0", -1.0, [1, nan, 0, 0]),
        ("stay is null", -1.0, [0, 1, 0, 0]),
        ("stay / y > 1", -1.0, [1, nan, nan, nan]),
        ("class == 'a'", "?", [1, nan, 0, nan]),
        ("class in [a, '?']", "?", [1, nan, 0, nan]),
        ("class is not null", "?", [1, 0, 1, 0]),
    ):
        label = replace(parse_label(text), unknown=unknown)
        found = labels("task `t`", label, table, binary=True)
        np.testing.assert_array_equal(found, np.array(expected, np.float32), text)


def test_a_text_that_means_unknown_may_be_among_numbers() -> None:
    label = replace(parse_label("y"), unknown="?")
    found = labels("task `t`", label, pa.table({"y": ["1", "?", "0"]}), binary=True)
    np.testing.assert_array_equal(found, np.array([1, nan, 0], np.float32))
    label = replace(parse_label("y"), unknown=-1.0)
    found = labels("task `t`", label, pa.table({"y": ["1", "-1.0", "0"]}), binary=True)
    np.testing.assert_array_equal(found, np.array([1, nan, 0], np.float32))


@pytest.mark.parametrize("unknown", [-1, -1.0, "-1", " -1.0 "])
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_number_means_unknown_in_quotes_too(
    tmp_path: Path, kind: str, unknown: float | str
) -> None:
    table = table_of(kind, tmp_path, {"stay": [5, -1, 0], "text": ["5", "-1", " -1.0"]})
    for column in ("stay", "text"):
        label = label_of(Task(label=f"{column} > 0", unknown=unknown))
        found = labels("task `t`", label, table, binary=True)
        expected = [1, nan, 0] if column == "stay" else [1, nan, nan]
        np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_a_text_that_means_unknown_is_compared_as_text() -> None:
    table = pa.table({"x": ["a", "-1", "-1.0", "?"]})
    for unknown, expected in (("-1", [1, nan, 0, 0]), (" ? ", [1, 0, 0, nan])):
        label = label_of(Task(label="x == 'a'", unknown=unknown))
        found = labels("task `t`", label, table, binary=True)
        np.testing.assert_array_equal(found, np.array(expected, np.float32))


LARGE = [2**53 + 1, 2**53, None, 1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("large > small * 1", [1, 1, nan, 0]),
        ("large > fraction", [1, 1, nan, 1]),
        ("large > single", [1, 1, nan, 1]),
        ("unsigned > fraction", [1, 0, 1, nan]),
        ("unsigned == unsigned * 1", [1, 1, 1, nan]),
        ("large > large", [0, 0, nan, 0]),
    ],
)
def test_integers_beyond_floats_compare_with_every_number(text: str, expected: list[float]) -> None:
    table = pa.table(
        {
            "large": pa.array(LARGE),
            "small": pa.array([-1, 0, 1, 2]),
            "unsigned": pa.array([2**64 - 1, 0, 5, None], pa.uint64()),
            "fraction": pa.array([0.5] * 4),
            "single": pa.array([0.5] * 4, pa.float32()),
        }
    )
    found = raw_labels("task `t`", parse_label(text), table)
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_arithmetic_is_a_regression_too() -> None:
    table = pa.table({"a": [1, 5, 0], "b": [2.0, 0.0, 4.0]})
    found = labels("task `t`", parse_label("a / b"), table, binary=False)
    np.testing.assert_array_equal(found, np.array([0.5, nan, 0.0], np.float32))


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("x == 'a'", pa.array([1, 2]), "the column `x` is int64, and its label .*compares"),
        ("x in [a]", pa.array([True]), "the column `x` is bool, and its label"),
        ("x in [1]", pa.array(["n.a."]), "holds the text 'n.a.', not numbers.*cannot evaluate"),
        ("x / 2 > 1", pa.array(["n.a."]), "holds the text 'n.a.', not numbers.*cannot evaluate"),
    ],
)  # fmt: skip
def test_columns_of_another_kind_are_refused(text: str, column: pa.Array, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        raw_labels("task `t`", parse_label(text), pa.table({"x": column}))


def test_a_column_is_named_once() -> None:
    with pytest.raises(DataError) as caught:
        raw_labels("task `t`", parse_label("x"), pa.table({"x": ["n.a."]}))
    reason = "task `t`: the column `x` holds the text 'n.a.', not numbers; labels are numbers"
    assert str(caught.value) == reason


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_type_of_text_will_do(kind: pa.DataType) -> None:
    cells = pa.array(["a", None, "b"], kind)
    for column in (cells, cells.cast(pa.string()).dictionary_encode()):
        found = raw_labels("task `t`", parse_label("x == 'a'"), pa.table({"x": column}))
        np.testing.assert_array_equal(found, np.array([1, nan, 0], np.float32))
    found = raw_labels("task `t`", parse_label("x == 'a'"), pa.table({"x": pa.nulls(2)}))
    assert np.isnan(found).all()


def test_lists_of_numbers_are_exact() -> None:
    """As comparisons: float32 in float32, integers beyond 2^53 on their side."""
    floats = pa.table({"x": pa.array([0.35, 0.36], pa.float32())})
    assert raw_labels("t", parse_label("x in [0.35]"), floats).tolist() == [1.0, 0.0]
    large = pa.table({"x": [2**53, 2**53 + 1, 2**53 - 1]})
    found = raw_labels("t", parse_label("x in [9007199254740991]"), large)
    assert found.tolist() == [0.0, 0.0, 1.0]


HOSTILE = [
    "a" * 10**6, "(" * 1000, "a in [" + "1," * 400, "`" * 999, "-" * 1000, "a " * 500, "[" * 1000,
    "a in [" + "[" * 900, "1e" * 400, "." * 1000, '"' * 999, "a == " + "'" * 901, "\u202e" * 500,
    "__import__('os').system('x')", "a\n> 1", "a > 1; drop", "a in [x for x in y]", "a.b.c" * 201,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_answered_at_once(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(LabelError) as caught:
        parse_label(text)
    assert time.perf_counter() - start < 0.1
    assert 0 <= caught.value.at <= len(text)
