"""The reader: columns to tensors, and what it says of columns that will not do."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

import homespec
from homespec.api import LoadedSpec
from homespec.data import DataError
from homespec.data.reader import Examples, read_examples, text_id

Write = Callable[..., Path]
NAN = float("nan")


def spec(features: str, label: str = "y") -> LoadedSpec:
    return homespec.loads(
        f"homespec: 1\nname: s\nfeatures: {{{features}}}\ngroups: {{g: [t]}}\n"
        f"tasks: {{t: {{label: {label}}}}}\n"
    )


def read(parquet: Write, features: str, label: str = "y", **columns: Any) -> Examples:
    rows = len(next(iter(columns.values())))
    return read_examples(spec(features, label), parquet(**({"y": [0] * rows} | columns)))


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
    assert plain.tolist() == [text_id("a"), -1, text_id("ü"), text_id("a"), text_id("")]
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
    found = read_one(parquet, NUMBER, values)
    assert found.dtype == torch.float32
    assert torch.equal(found.nan_to_num(99), torch.tensor([1.0, 99, -3]))


def test_text_is_no_number(parquet: Write) -> None:
    with pytest.raises(DataError, match="the column `f` is string, not numbers"):
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
    with pytest.raises(DataError, match="task `t`: the column `s` holds text; labels are numbers"):
        read(parquet, f"f: {{{ID}}}", "s", s=["yes"], f=[1])
    with pytest.raises(DataError, match="task `t`: cannot evaluate `s > 3`: `s` is string"):
        read(parquet, f"f: {{{ID}}}", "s > 3", s=["yes"], f=[1])


def test_all_missing_columns_at_once_with_suggestions(parquet: Write) -> None:
    path = parquet(user_id=[1], is_click=[0])
    wanted = spec(f"user: {{{ID}, column: user_ids}}, tab: {{{ID}}}", "is_clik > other")
    with pytest.raises(DataError) as caught:
        read_examples(wanted, path)
    message = str(caught.value)
    assert "feature `user` wants the column `user_ids` (did you mean `user_id`?)" in message
    assert "feature `tab` wants the column `tab`;" in message
    assert "task `t` wants the column `is_clik` (did you mean `is_click`?)" in message
    assert "task `t` wants the column `other`" in message
    assert "\n" not in message


def test_files_that_are_not_there_or_not_parquet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; --data takes a folder"):
        read_examples(spec(f"f: {{{ID}}}"), tmp_path / "train.parquet")
    (tmp_path / "train.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="is not a parquet file"):
        read_examples(spec(f"f: {{{ID}}}"), tmp_path / "train.parquet")


def test_no_rows(parquet: Write) -> None:
    with pytest.raises(DataError, match="has no rows"):
        read(parquet, f"f: {{{ID}}}", f=pa.array([], pa.int64()))


def test_many_scans_limits_and_shared_columns(parquet: Write) -> None:
    rows = 70_000
    path = parquet(f=list(range(rows)), y=[0] * rows)
    twice = spec(f"a: {{{ID}, column: f}}, b: {{{NUMBER}, column: f}}")
    found = read_examples(twice, path)
    assert found.rows == rows
    assert found.features["a"].equal(torch.arange(rows))
    assert found.features["b"].equal(torch.arange(rows).float())
    few = read_examples(twice, path, limit=10)
    assert few.features["a"].tolist() == list(range(10))
    assert math.isclose(float(few.labels["t"].sum()), 0)
