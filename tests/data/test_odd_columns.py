"""Columns of every type for every kind of feature and label: an array, or one line that says why.

What `check-data` has no error for, training can read, and the other way round.
"""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import homespec
from homespec.api import LoadedSpec
from homespec.cli.data_tables import tables
from homespec.data import DataError
from homespec.data.data_files import open_files
from homespec.data.data_rules import check
from homespec.data.dataset import BatchDataset
from homespec.data.in_memory import load_rows
from homespec.data.profiled import ProfiledData
from homespec.data.profiler import profile
from homespec.diagnostics import Severity

ROWS = 12
ID = "v: {id: {buckets: 100}, dim: 4}"
FEATURES = [
    "f: {id: {buckets: 100}, dim: 4}",
    "f: {id: {vocab: 10}, dim: 4}",
    "f: {bucketize: [1, 2], dim: 4}",
    "f: {bucketize: {quantiles: 8}, dim: 4}",
    "f: {dense: 2}",
    "f: {dense: 1}",
    f"{ID}, h: {{sequence: {{of: [v], max_len: 3, encoder: mean, columns: {{v: f}}}}}}",
    "w: {bucketize: [1], dim: 4, column: v}, h: {sequence: {of: [w], max_len: 3, encoder: mean,"
    " columns: {w: f}}}",
    f"{ID}, h: {{sequence: {{of: [v], with: {{m: {{bucketize: {{quantiles: 4}}, dim: 4}}}},"
    " max_len: 3, encoder: mean, columns: {v: lists, m: f}}}",
    "f: {id: {buckets: 100}, dim: 4, list: {max_len: 3}}",
    f"{ID}, g: {{table: v, column: lists, list: {{max_len: 3, weights: f}}}}",
]
LABELS = ["label: f", "label: f > 1", "label: f >= v", "kind: regression, label: f"]


@cache
def specs() -> dict[str, LoadedSpec]:
    head = "homespec: 1\nname: s\nfamily: mmoe\nfeatures: "
    texts = [f"{{{feature}}}\ntasks: {{y: {{}}}}\n" for feature in FEATURES]
    texts += [f"{{{ID}}}\ntasks: {{t: {{{label}}}}}\n" for label in LABELS]
    return {text: homespec.loads(head + text) for text in texts}


def column(values: list[Any], kind: pa.DataType = None) -> pa.Array:
    return pa.array([values[i % len(values)] for i in range(ROWS)], kind)


DAY = datetime.date(2022, 5, 1)
COLUMNS = {
    "null": column([None]),
    "no integer": column([None], pa.int64()),
    "no text": column([None], pa.string()),
    "NaN": column([float("nan")]),
    "infinite": column([float("inf"), 1.0]),
    "too large for float32": column([1e308, 0.0]),
    "int": column([0, 1, None]),
    "extreme": column([-(2**63), 2**63 - 1]),
    "uint64": column([2**64 - 1, 0, 2**63], pa.uint64()),
    "float16": column([1.0, 0.0, None], pa.float16()),
    "large float": column([2.0**60, None]),
    "bool": column([True, False, None]),
    "decimal": column([Decimal("1.50"), None], pa.decimal128(9, 2)),
    "small decimal": column([Decimal("1.50"), None], pa.decimal32(5, 2)),
    "whole decimal": column([Decimal(3), None], pa.decimal64(12, 0)),
    "decimal256": column([Decimal(10) ** 40, Decimal(1)], pa.decimal256(50, 0)),
    "text": column(["a", "b", ""]),
    "numbers as text": column(["1", "0", " 1"]),
    "floats as text": column(["1.58e+18", "1"]),
    "lists as text": column(["1 2", "[3, 4]", ""]),
    "JSON": column(['{"a": 1}', "[[1, 2], [3]]"]),
    "view of text": column(["1", "a"], pa.string_view()),
    "large text": column(["1", "a"], pa.large_string()),
    "view of bytes": column([b"\xff", b"a"], pa.binary_view()),
    "binary": column([b"\xff", b"a"]),
    "fixed binary": column([b"ab"], pa.binary(2)),
    "date": column([DAY]),
    "timestamp": column([1], pa.timestamp("ms", "UTC")),
    "time": column([datetime.time(1)]),
    "duration": column([1], pa.duration("s")),
    "dictionary of integers": column([5, 1, None]).dictionary_encode(),
    "dictionary of text": column(["a", None]).dictionary_encode(),
    "struct": column([{"a": 1}, None]),
    "map": column([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    "lists": column([[1, 2], None, [], [3]]),
    "lists of two": column([[1.0, 2.0], [3.0, None], None]),
    "large lists": column([[1, 2], None], pa.large_list(pa.int64())),
    "fixed lists": column([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
    "lists of text": column([["a", "1"], [""], [None], None]),
    "lists of views": column([["a", "1"], [""], [None], None], pa.list_(pa.string_view())),
    "list views": column([[1, 2], None, [], [3]], pa.list_view(pa.int64())),
    "lists of nothing": column([[None], []], pa.list_(pa.null())),
    "lists of booleans": column([[True, None], []]),
    "lists of decimals": column([[Decimal("1.5")]], pa.list_(pa.decimal128(9, 2))),
    "lists of dates": column([[DAY]]),
    "lists of structs": column([[{"a": 1}]]),
    "lists of lists": column([[[1.0, 2.0]], [], None]),
    "lists of infinite numbers": column([[float("inf"), 1.0], [2.0, 3.0]]),
    "lists of large floats": column([[2.0**60]]),
}


def refusal(loaded: LoadedSpec, path: Path) -> str:
    """What training says to a file that it cannot read; else "".

    It says the same whether rows are held or streamed, and takes the same of them.
    """
    source = open_files([path])
    try:
        held = load_rows(loaded, source)
    except DataError as error:
        whose = ":".join(str(error).split(":")[:2])  # the first row that is wrong is another
        with pytest.raises(DataError, match=re.escape(whose)):
            list(BatchDataset(loaded, source, 2, shuffle=6))
        return str(error)
    streamed = BatchDataset(loaded, source, 2, shuffle=6)
    kept = BatchDataset(loaded, source, 2, shuffle=6, cached=held)
    for one, other in zip(streamed, kept, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    return ""


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_every_type(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.parquet"
    others = {"y": column([0, 1]), "v": column([0, 1, 2]), "lists": column([[1, 2], None, [], [3]])}
    pq.write_table(pa.table({"f": COLUMNS[name], **others}), path)
    for text, loaded in specs().items():
        train = profile(loaded, open_files([path]))
        valid = profile(loaded, open_files([path]), train)
        data = ProfiledData(loaded, loaded.analysis.document, train, valid)
        found = check(data)
        assert tables(data, color=False)
        assert not any("\n" in diagnostic.message for diagnostic in found)
        errors = [d.message for d in found if d.rule.severity is Severity.ERROR]
        errors = [message for message in errors if "quantiles cannot be fitted" not in message]
        refused = refusal(loaded, path)
        assert "\n" not in refused
        assert bool(refused) == bool(errors), f"{text}: {refused!r}, but check-data says {errors}"


@pytest.mark.parametrize("nested", [False, True])
def test_text_that_is_not_utf8(tmp_path: Path, nested: bool) -> None:
    """pyarrow writes and reads it; its functions on text fail."""
    offsets = np.array([0, 1, 3], np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"a\xff\xfe")]
    texts = pa.Array.from_buffers(pa.string(), 2, buffers)
    if nested:
        texts = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), texts)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"f": texts, "y": [0, 1], "v": [0, 1]}), path)
    for loaded in list(specs().values())[:7]:
        for read in (load_rows, profile):
            with pytest.raises(
                DataError, match=r"a.parquet: its column `f` is not UTF-8: write it"
            ):
                read(loaded, open_files([path]))


def test_integers_that_do_not_fit_the_floats_of_another_file(tmp_path: Path) -> None:
    for name, values in (("1", [2**60 + 1, 5]), ("2", [7.0, None])):
        pq.write_table(pa.table({"f": values, "y": [0, 1]}), tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=r"1.parquet .*write the files with one type"):
        load_rows(next(iter(specs().values())), open_files([tmp_path]))


def test_unsigned_integers_that_do_not_fit_the_integers_of_another_file(tmp_path: Path) -> None:
    for name, values in (("1", pa.array([-1, 5])), ("2", pa.array([2**63, 5], pa.uint64()))):
        pq.write_table(pa.table({"f": values, "y": [0, 1]}), tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=r"2.parquet .*write the files with one type"):
        load_rows(next(iter(specs().values())), open_files([tmp_path]))
