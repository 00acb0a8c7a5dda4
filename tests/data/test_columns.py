"""Columns to arrays: ids, numbers, vectors, labels, sequences; what is said of other ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import homespec
from homespec.api import LoadedSpec
from homespec.data import DataError
from homespec.data.batches import Batch, as_batch
from homespec.data.cell_ids import text_id
from homespec.data.columns import as_lists, events
from homespec.data.data_files import open_files
from homespec.data.in_memory import load_rows
from homespec.schema.input_tensors import InputTensor

Write = Callable[..., Path]
NAN = float("nan")


def spec(features: str, label: str = "y") -> LoadedSpec:
    return homespec.loads(
        f"homespec: 1\nname: s\nfeatures: {{{features}}}\ngroups: {{g: [t]}}\n"
        f"tasks: {{t: {{label: {label}}}}}\n"
    )


@pytest.fixture
def parquet(tmp_path: Path) -> Write:
    """Writes columns to a parquet file."""

    def write(**columns: Any) -> Path:
        path = tmp_path / "train.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    return write


def read_file(loaded: LoadedSpec, path: Path, limit: int | None = None) -> Batch:
    held = load_rows(loaded, open_files([path]).first(limit))
    assert held is not None
    return as_batch(held)


def read(parquet: Write, features: str, label: str = "y", **columns: Any) -> Batch:
    rows = len(next(iter(columns.values())))
    return read_file(spec(features, label), parquet(**({"y": [0] * rows} | columns)))


def read_one(parquet: Write, kind: str, values: Any) -> torch.Tensor:
    return read(parquet, f"f: {{{kind}}}", f=values).features["f"]


ID = "id: {buckets: 100}, dim: 4"


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ([3, -5, None, 2**62], [3, -5, -1, 2**62]),
        (pa.array([7, None], pa.uint8()), [7, -1]),
        (pa.array([2**63 + 5, 9, None], pa.uint64()), [5 - 2**63, 9, -1]),
        ([3.0, NAN, None], [3, -1, -1]),
        ([True, False, None], [1, 0, -1]),
        (pa.nulls(2), [-1, -1]),
    ],
)
def test_ids(parquet: Write, values: Any, ids: list[int]) -> None:
    found = read_one(parquet, ID, values)
    assert found.dtype == torch.int64
    assert found.tolist() == ids


def test_text_ids_are_hashes_that_never_change(parquet: Write) -> None:
    texts = ["a", None, "ü", "a", ""]
    plain = read_one(parquet, ID, texts)
    assert plain.tolist() == [text_id("a"), -1, text_id("ü"), text_id("a"), -1]
    assert text_id("a") == 4681665781835383343  # printf a | b2sum -l 64, without the sign bit
    assert 0 <= int(plain[0]) < 2**63
    for kind in (pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        assert read_one(parquet, ID, pa.array(texts).cast(kind)).equal(plain)


@pytest.mark.parametrize(
    "values", [[1.5], [1, None, 2.5], [[1]], [{"a": 1}], pa.array([1], pa.timestamp("ms")), [b"x"]]
)
def test_what_is_no_id(parquet: Write, values: Any) -> None:
    with pytest.raises(DataError, match="feature `f`: the column `f`"):
        read_one(parquet, ID, values)


NUMBER = "bucketize: [1, 2], dim: 4"


@pytest.mark.parametrize("values", [[1, None, -3], [1.0, NAN, -3.0], pa.array([1.0, None, -3.0])])
def test_numbers(parquet: Write, values: Any) -> None:
    """In float64, and in float32 where the column is (`test_precision.py`)."""
    found = read_one(parquet, NUMBER, values)
    assert found.dtype == torch.float64
    assert found.nan_to_num(99).tolist() == [1, 99, -3]


def test_text_is_no_number(parquet: Write) -> None:
    with pytest.raises(DataError, match="the column `f` holds the text 'a', not numbers"):
        read_one(parquet, NUMBER, ["a"])


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2)]
)
def test_vectors(parquet: Write, kind: pa.DataType) -> None:
    found = read_one(parquet, "dense: 2", pa.array([[1, 2], None, [3, None]], kind))
    assert found.dtype == torch.float32
    assert found.nan_to_num(99).tolist() == [[1, 2], [99, 99], [3, 99]]


def test_vectors_of_another_length(parquet: Write) -> None:
    with pytest.raises(DataError, match="`f` has a list of 3 numbers, but the spec says 2"):
        read_one(parquet, "dense: 2", [[1, 2], [1, 2, 3]])
    with pytest.raises(DataError, match="is int64, not lists of 2 numbers"):
        read_one(parquet, "dense: 2", [1])


PLAIN = [
    *((kind, [3, None, 1], [3, 99, 1]) for kind in (pa.int8(), pa.int64(), pa.uint32())),
    (pa.uint64(), [2**63, None, 1], [2.0**63, 99, 1]),
    *((kind, [0.5, NAN, None, -2], [0.5, 99, 99, -2]) for kind in (pa.float16(), pa.float32())),
    (pa.float64(), [0.1, NAN, None], [0.1, 99, 99]),
    (pa.decimal128(5, 2), [Decimal("1.25"), None], [1.25, 99]),
    (pa.bool_(), [True, None, False], [1, 99, 0]),
    (pa.dictionary(pa.int8(), pa.float64()), [2.5, None, 2.5], [2.5, 99, 2.5]),
    (pa.string(), ["0.5", "true", "[2]", None, "", "nan"], [0.5, 1, 2, 99, 99, 99]),
    (pa.null(), [None, None], [99, 99]),
]


@pytest.mark.parametrize(("kind", "values", "wanted"), PLAIN, ids=[str(k) for k, *_ in PLAIN])
def test_numbers_are_vectors_of_one(
    parquet: Write, tmp_path: Path, kind: pa.DataType, values: list[Any], wanted: list[float]
) -> None:
    column = pa.array(values, kind)
    numbers = torch.tensor(wanted)[:, None]
    assert read_one(parquet, "dense: 1", column).nan_to_num(99).equal(numbers)
    cells = ["" if value is None else f'"{value}"' for value in column.to_pylist()]
    (tmp_path / "a.csv").write_text("y,f\n" + "".join(f"0,{cell}\n" for cell in cells))
    from_csv = read_file(spec("f: {dense: 1}"), tmp_path / "a.csv").features["f"]
    assert from_csv.nan_to_num(99).equal(numbers)
    if not pa.types.is_null(kind):
        events = pa.ListArray.from_arrays(pa.array([0, 0, len(column)], pa.int32()), column)
        assert sequence("vector", events, len(column), 1)[1] == numbers.tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([1], pa.timestamp("ms")), r"is timestamp\[ms\], not numbers"),
        (pa.array([b"1"]), "is binary, not numbers"),
        (pa.array([{"a": 1}]), r"is struct<a: int64>, not numbers"),
        (["a"], "holds the text 'a', not numbers; `homespec check-data`"),
        (
            ["1", "NA"],
            "the text 'NA', not numbers .for a missing number, leave the cell empty",
        ),
        ([float("inf")], "holds a number that is infinite, or too large for float32"),
        ([1e39], "holds a number that is infinite, or too large for float32"),
        ([[1, 2]], "has a list of 2 numbers, but the spec says 1"),
    ],
)
def test_what_is_no_vector_of_one(parquet: Write, values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_one(parquet, "dense: 1", values)


@pytest.mark.parametrize(
    ("label", "labels"),
    [
        ("a", [1, 0, NAN, 1]),
        ("a == 1", [1, 0, NAN, 1]),
        ("play >= length", [1, 0, 1, NAN]),
        ("play > 10", [1, 0, 0, NAN]),
        ("length != 5", [0, 1, 1, 1]),
        ("play < length", [0, 1, 0, NAN]),
    ],
)
@pytest.mark.parametrize("boolean", [False, True])
def test_labels(parquet: Write, label: str, labels: list[float], boolean: bool) -> None:
    a = pa.array([1, 0, None, 1]).cast(pa.bool_() if boolean else pa.int8())
    columns = {"a": a, "play": [20.0, 5.0, 7.5, NAN], "length": [5, 6, 7, 8], "f": [1, 2, 3, 4]}
    found = read(parquet, f"f: {{{ID}}}", label, **columns).labels["t"]
    assert found.dtype == torch.float32
    assert found.nan_to_num(9).tolist() == torch.tensor(labels).nan_to_num(9).tolist()


def test_a_label_is_0_or_1(parquet: Write) -> None:
    with pytest.raises(DataError, match="task `t`: its label `y` holds 3, but labels are 0 or 1"):
        read(parquet, f"f: {{{ID}}}", y=[0, 1, 3], f=[1, 2, 3])
    with pytest.raises(
        DataError, match="the column `s` holds the text 'yes', not numbers; labels are"
    ):
        read(parquet, f"f: {{{ID}}}", "s", s=["yes"], f=[1])
    with pytest.raises(
        DataError, match=r"task `t`: .* the text 'yes', not numbers; cannot evaluate `s > 3`"
    ):
        read(parquet, f"f: {{{ID}}}", "s > 3", s=["yes"], f=[1])


@pytest.mark.parametrize(
    ("label", "a", "b", "expected"),
    [
        ("a > 0.1", pa.array([0.1, 0.2], pa.float32()), None, [0, 1]),
        ("a > 0.1", pa.array(["0.1", "0.2"]), None, [0, 1]),
        ("a >= 1", pa.array([2**64 - 1, 0, None], pa.uint64()), None, [1, 0, NAN]),
        ("a > 0", pa.array([1_650_000_000_000_000_001, 0]), None, [1, 0]),
        ("a != 1", pa.array(["NAN", " nan", "1", "2"]), None, [NAN, NAN, 0, 1]),
        ("a >= b", pa.array([2**24 + 1, 5]), np.float32([2**24 + 2, 5]), [0, 1]),
        ("a > b", np.float32([2**24, 6]), pa.array([2**24 + 1, 5], pa.int32()), [0, 1]),
        ("a > b", pa.array([2**60 + 1, 2**60]), pa.array([2**60, 2**60]), [1, 0]),
    ],
)
def test_labels_compare_what_columns_hold(
    parquet: Write, label: str, a: Any, b: Any, expected: list[float]
) -> None:
    """Whatever the types; pyarrow alone fails for integers that its common type does not hold."""
    columns = {"a": a, "b": pa.nulls(len(a)) if b is None else b, "f": [1] * len(a)}
    found = read(parquet, f"f: {{{ID}}}", label, **columns).labels["t"]
    assert found.nan_to_num(9).tolist() == torch.tensor(expected).nan_to_num(9).tolist()


def test_labels_of_types_that_cannot_be_compared_are_refused(parquet: Write) -> None:
    big = {"a": pa.array([2**64 - 1], pa.uint64()), "b": [1], "f": [1]}
    with pytest.raises(DataError, match=r"`a` is uint64 and `b` is int64; write int64, float32"):
        read(parquet, f"f: {{{ID}}}", "a > b", **big)
    with pytest.raises(DataError, match=r"cannot evaluate `a > 3`: `a` is timestamp.*; write int"):
        read(parquet, f"f: {{{ID}}}", "a > 3", a=pa.array([1], pa.timestamp("ms")), f=[1])


def test_all_missing_columns_at_once_with_suggestions(parquet: Write) -> None:
    path = parquet(user_id=[1], is_click=[0])
    wanted = spec(f"user: {{{ID}, column: user_ids}}, tab: {{{ID}}}", "is_clik > other")
    with pytest.raises(DataError) as caught:
        read_file(wanted, path)
    message = str(caught.value)
    assert "feature `user` wants the column `user_ids` (did you mean `user_id`?)" in message
    assert "feature `tab` wants the column `tab`;" in message
    assert "task `t` wants the column `is_clik` (did you mean `is_click`?)" in message
    assert "task `t` wants the column `other`" in message
    assert "\n" not in message


def test_many_scans_limits_and_shared_columns(parquet: Write) -> None:
    rows = 70_000
    path = parquet(f=list(range(rows)), y=[0] * rows)
    twice = spec(f"a: {{{ID}, column: f}}, b: {{{NUMBER}, column: f}}")
    found = read_file(twice, path)
    assert len(found.labels["t"]) == rows
    assert found.features["a"].equal(torch.arange(rows))
    assert found.features["b"].equal(torch.arange(rows).float())
    few = read_file(twice, path, limit=10)
    assert few.features["a"].tolist() == list(range(10))
    assert math.isclose(float(few.labels["t"].sum()), 0)


# ---------------------------------------------------------------- text that spells something


def test_numbers_and_labels_of_text(parquet: Write) -> None:
    numbers = read_one(parquet, NUMBER, ["1", " 2.5", None, "-1e3", "", "NULL", " nan", "None"])
    assert numbers.nan_to_num(99).tolist() == [1, 2.5, 99, -1000, 99, 99, 99, 99]
    labels = read(parquet, f"f: {{{ID}}}", y=["True", "false", None, "1"], f=[1, 2, 3, 4]).labels
    assert labels["t"].nan_to_num(9).tolist() == [1, 0, 9, 1]
    found = read(parquet, f"f: {{{ID}}}", "y > 10", y=["9", "11"], f=[1, 2]).labels["t"]
    assert found.tolist() == [0, 1]


def test_vectors_of_text(parquet: Write) -> None:
    found = read_one(parquet, "dense: 2", ["1 2", "[3.5, 4]", None, "", "null"])
    assert found.nan_to_num(99).tolist() == [[1, 2], [3.5, 4], [99, 99], [99, 99], [99, 99]]


# ---------------------------------------------------------------- sequences


def sequence(kind: Any, column: Any, length: int = 3, width: int = 0) -> list[Any]:
    tensor = InputTensor("h.f", "h", "f", kind, width=width, length=length)
    found = events(tensor, as_lists(tensor, column))
    return np.nan_to_num(found, nan=99).tolist()


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int64()),
        pa.large_list(pa.int32()),
        pa.list_(pa.float64()),
        pa.list_(pa.string()),
    ],
)
def test_the_latest_events_of_a_sequence_oldest_first(kind: pa.DataType) -> None:
    lists = pa.array([[1, 2], None, [], [1, 2, 3, 4, 5], [None, 7]], pa.list_(pa.int64()))
    expected = [[1, 2, -1], [-1, -1, -1], [-1, -1, -1], [3, 4, 5], [-1, 7, -1]]
    assert sequence("id", lists.cast(kind)) == expected
    assert sequence("id", lists.cast(kind)[1:]) == expected[1:]  # a slice has an offset


def test_null_lists_over_values_that_are_there() -> None:
    lists = pa.ListArray.from_arrays(
        pa.array([0, 2, 4], pa.int32()), pa.array([1, 2, 3, 4]), mask=pa.array([True, False])
    )
    assert sequence("id", lists) == [[-1, -1, -1], [3, 4, -1]]


def test_sequences_of_other_kinds() -> None:
    assert sequence("number", pa.array([[0.5], None, [1, None]])) == [
        [0.5, 99, 99], [99, 99, 99], [1, 99, 99],
    ]  # fmt: skip
    vectors = pa.array([[[1, 2]], None, [[1, 2], [3, 4], None, [5, 6]]])
    assert sequence("vector", vectors, 3, 2) == [
        [[1, 2], [99, 99], [99, 99]], [[99, 99]] * 3, [[3, 4], [99, 99], [5, 6]],
    ]  # fmt: skip
    assert sequence("id", pa.array([["a"], ["b", "1"]]), 2) == [
        [text_id("a"), -1], [text_id("b"), 1],
    ]  # fmt: skip
    fixed = pa.array([[1, 2], None], pa.list_(pa.int64(), 2))
    assert sequence("id", fixed) == [[1, 2, -1], [-1, -1, -1]]
    assert sequence("id", pa.nulls(2), 1) == [[-1], [-1]]


def test_sequences_of_text_cells() -> None:
    cells = pa.array(["1 2", "[3, 4, 5, 6]", "", None, "[]", '["a", "null"]', "7", "NULL"])
    assert sequence("id", cells) == [
        [1, 2, -1], [4, 5, 6], [-1] * 3, [-1] * 3, [-1] * 3, [text_id("a"), -1, -1], [7, -1, -1],
        [-1] * 3,
    ]  # fmt: skip


def test_what_is_no_sequence() -> None:
    with pytest.raises(DataError, match="feature `h`: the column `f` is int64, not lists"):
        sequence("id", pa.array([1]))
