"""A cell has one bucket: of any type, in parquet and CSV, in memory and streamed, in any file."""

from __future__ import annotations

import operator
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import homespec
from homespec.api import LoadedSpec
from homespec.data import DataError
from homespec.data.columns import exact_numbers
from homespec.data.data_files import DataFiles, open_files
from homespec.data.dataset import BatchDataset
from homespec.data.fit_preview import FitPreview
from homespec.data.in_memory import load_rows
from homespec.data.label_values import labels
from homespec.data.profiler import profile
from homespec.data.quantile_fit import quantile_boundaries
from homespec.schema.label_parser import parse_label
from homespec.train.quantiles import fit
from homespec.train.torch_compile import obstacle

torch.set_num_threads(1)

CENTS = [-0.35, 0.0, 0.1, 0.35, 0.45, 0.65, 1.2]
WHOLE = [-(2**53) + 1, -16777217, 0, 16777217, 1650000000123, 2**53 - 1]
FILES: dict[str, dict[str, Any]] = {
    "optimised": {},
    "plain": {"optimize": False},
    "inference": {"mode": "inference"},
    "plain inference": {"optimize": False, "mode": "inference"},
    "cuda": {"target": "cuda"},
}


def spec(boundaries: Any) -> LoadedSpec:
    return homespec.loads(
        "homespec: 1\nname: exact\nfamily: shared_bottom\n"
        f"features: {{x: {{bucketize: {boundaries}, dim: 1}}}}\ntasks: {{y: {{}}, z: {{}}}}\n"
    )


def around(boundaries: list[int]) -> list[int]:
    """Whole numbers on and beside the boundaries."""
    return [b + step for b in boundaries for step in (-1, 0, 1)]


NUMBERS: dict[str, tuple[list[float] | list[int], pa.Array, list[int]]] = {
    # boundaries, cells with a missing one at the end, and the bucket of each by hand or by ==
    "int32": ([5, 16777217], pa.array([4, 5, 16777216, 16777217, None], pa.int32()), [1, 2, 2, 3]),
    "int64": (
        WHOLE,
        pa.array([*around(WHOLE), 2**53 + 1, 2**63 - 1, -(2**63), None], pa.int64()),
        [1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7, 7, 7, 7, 1],
    ),
    "uint64": (
        [1, 16777217, 2**53 - 1],
        pa.array([0, 1, 16777216, 16777217, 2**53 - 2, 2**53 - 1, 2**64 - 1, None], pa.uint64()),
        [1, 2, 2, 3, 3, 4, 4],
    ),
    "float32": (CENTS, pa.array([*CENTS, 0.34, 2.0, None], pa.float32()), [*range(2, 9), 4, 8]),
    "float64": (
        CENTS,
        pa.array([*CENTS, 0.35 - 1e-12, 0.35 + 1e-12, float("inf"), None], pa.float64()),
        [*range(2, 9), 4, 5, 8],
    ),
    "decimal": (
        CENTS,
        pa.array([*(Decimal(str(b)) for b in CENTS), Decimal("0.349"), None], pa.decimal128(9, 4)),
        [*range(2, 9), 4],
    ),
    "bool": ([0.5, 1], pa.array([False, True, None]), [1, 3]),
}


def written(folder: Path, cells: pa.Array, kind: str) -> DataFiles:
    """A source of the cells, and labels."""
    zeros = pa.array([0] * len(cells))
    table = pa.table({"x": cells, "y": zeros, "z": zeros})
    if kind == "parquet":
        pq.write_table(table, folder / "a.parquet", row_group_size=2)
        return open_files([folder / "a.parquet"])
    pyarrow.csv.write_csv(table, folder / "a.csv")
    return open_files([folder / "a.csv"])


def made(loaded: LoadedSpec, **options: Any) -> tuple[nn.Module, ModuleType]:
    """A model whose embeddings are the numbers of their rows, and its module."""
    code = homespec.build_module(loaded, **options)
    model = code.Model()
    table = next(p for n, p in model.named_parameters() if n.startswith("features"))
    table.data.copy_(torch.arange(float(len(table))).unsqueeze(1))
    return model, code


def rows(model: nn.Module, x: Tensor) -> list[int]:
    found: Tensor = model.features({"x": x})
    return found[:, 0].int().tolist()


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_cell_has_one_bucket(tmp_path: Path, name: str, kind: str) -> None:
    """In memory and streamed, for training and evaluation, in all files that are generated."""
    boundaries, cells, wanted = NUMBERS[name]
    loaded, source = spec(boundaries), written(tmp_path, cells, kind)
    held = load_rows(loaded, source)
    assert held is not None
    given_ = torch.from_numpy(held.features["x"])
    exact = torch.float32 if (name, kind) == ("float32", "parquet") else torch.float64
    assert given_.dtype == exact
    for memory in (None, held):
        for training in (True, False):
            options = {"cached": memory, "training": training, "shuffle": 0}
            batches = [b.features["x"] for b in BatchDataset(loaded, source, 1, **options)]
            assert torch.equal(torch.cat(batches).nan_to_num(7.5), given_.nan_to_num(7.5))
            assert {batch.dtype for batch in batches} == {exact}
    for options in FILES.values():
        assert rows(made(loaded, **options)[0], given_) == [*wanted, 0]


@pytest.mark.parametrize("name", ["int32", "int64", "uint64", "bool"])
def test_a_tensor_of_integers_has_the_same_buckets(name: str) -> None:
    boundaries, cells, wanted = NUMBERS[name]
    x = torch.from_numpy(cells.drop_null().to_numpy(zero_copy_only=False).copy())
    for options in FILES.values():
        assert rows(made(spec(boundaries), **options)[0], x) == wanted


@pytest.mark.compiles
@pytest.mark.timeout(900)
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
def test_a_cell_has_the_same_bucket_when_compiled() -> None:
    for name in ("float32", "float64", "int64"):
        boundaries, cells, wanted = NUMBERS[name]
        x = torch.from_numpy(cells.drop_null().to_numpy().copy())
        model, _ = made(spec(boundaries))
        model.features.compile(fullgraph=True)
        assert rows(model, x) == wanted
        fitted, code = made(spec(f"{{quantiles: {len(boundaries) + 1}}}"))
        code.set_boundaries(fitted, {"x": boundaries})
        fitted.features.compile(fullgraph=True)
        assert rows(fitted, x) == wanted


finite = st.floats(-(2.0**53) + 1, 2.0**53 - 1)
lists = st.lists(finite | st.integers(-(2**53) + 1, 2**53 - 1).map(float), min_size=1, max_size=4)
CODE = homespec.build_module(spec([1]))


def bucket_rows(x: torch.Tensor, boundaries: torch.Tensor) -> torch.Tensor:
    rows: torch.Tensor = CODE.bucket_rows(x, boundaries, boundaries.float())
    return rows


@given(lists, st.integers(-(2**63), 2**64 - 1))
def test_integers_of_any_size_are_compared_exactly(numbers: list[float], x: int) -> None:
    boundaries = torch.tensor(sorted(numbers), dtype=torch.float64)
    wanted = 1 + sum(x >= boundary for boundary in numbers)  # Python compares exactly
    kind = pa.int64() if x < 2**63 else pa.uint64()
    for cell in (pa.array([x], kind), pa.array([str(x)]), pa.array([Decimal(x)])):
        found = torch.from_numpy(exact_numbers(cell))
        assert bucket_rows(found, boundaries).tolist() == [wanted]
    if x < 2**63:
        assert bucket_rows(torch.tensor([x]), boundaries).tolist() == [wanted]


@given(lists, st.floats(width=32, allow_nan=False))
def test_float32_is_compared_in_float32(numbers: list[float], x: float) -> None:
    boundaries = torch.tensor(sorted(numbers), dtype=torch.float64)
    wanted = 1 + int((np.float32(x) >= np.array(numbers, np.float32)).sum())
    narrow, wide = (torch.tensor([x], dtype=kind) for kind in (torch.float32, torch.float64))
    assert bucket_rows(narrow, boundaries).tolist() == [wanted]
    assert bucket_rows(wide, boundaries).item() <= wanted  # rounding keeps the order


@given(st.integers(-999_999, 999_999), st.integers(-999_999, 999_999), st.integers(0, 8))
def test_six_digits_have_one_bucket_in_all_precisions(cell: int, boundary: int, e: int) -> None:
    """As text, decimal, float32 or float64, with boundaries of up to six digits."""
    text, cut = (str(Decimal(number).scaleb(-e)) for number in (cell, boundary))
    boundaries = torch.tensor([float(cut)], dtype=torch.float64)
    wanted = 1 + (Decimal(text) >= Decimal(cut))
    for cells in (
        pa.array([text]), pa.array([Decimal(text)]), pa.array([float(text)], pa.float32()),
        pa.array([float(text)]),
    ):  # fmt: skip
        found = torch.from_numpy(exact_numbers(cells))
        assert bucket_rows(found, boundaries).tolist() == [wanted]


# ---------------------------------------------------------------- events


EVENTS = homespec.loads(
    "homespec: 1\nname: e\nfamily: shared_bottom\ntasks: {y: {}, z: {}}\nfeatures:\n"
    "  v: {id: {vocab: 9}, dim: 2}\n  x: {bucketize: [16777217], dim: 2}\n"
    "  past: {sequence: {of: [v, x], max_len: 2, encoder: mean}}\n"
)


@pytest.mark.parametrize("text", [False, True])
def test_fields_of_events_keep_their_precision(tmp_path: Path, text: bool) -> None:
    times: list[Any] = [[16777216, 16777217], [16777217], None]
    videos: list[Any] = [[1, 2], [3], None]
    if text:
        times, videos = (
            [" ".join(map(str, each)) if each else None for each in lists]
            for lists in (times, videos)
        )
    columns = {"past_v": videos, "past_x": times, "v": [1] * 3, "x": [16777216.0, 16777217.0, None]}
    pq.write_table(pa.table(columns | {"y": [0] * 3, "z": [0] * 3}), tmp_path / "a.parquet")
    held = load_rows(EVENTS, open_files([tmp_path / "a.parquet"]))
    assert held is not None
    boundaries = torch.tensor([16777217.0], dtype=torch.float64)
    found = {n: torch.from_numpy(held.features[n]) for n in ("x", "past.x")}
    buckets = {n: bucket_rows(each, boundaries).tolist() for n, each in found.items()}
    assert buckets == {"x": [1, 2, 0], "past.x": [[1, 2], [2, 0], [0, 0]]}


# ---------------------------------------------------------------- quantiles, check-data


@pytest.mark.parametrize("kind", ["float32", "float64", "decimal", "csv"])
def test_quantiles_of_decimal_numbers_do_not_depend_on_the_type(tmp_path: Path, kind: str) -> None:
    """Nor does the bucket of a cell, whichever type it is served as."""
    texts = np.char.mod("%.1f", np.random.default_rng(0).gamma(2, 2, 6000))
    cells = {
        "float32": lambda: pa.array(texts.astype(np.float32)),
        "float64": lambda: pa.array(texts.astype(np.float64)),
        "decimal": lambda: pa.array([Decimal(t) for t in texts], pa.decimal128(5, 1)),
        "csv": lambda: pa.array(texts),
    }[kind]()
    loaded = spec("{quantiles: 8}")
    held = load_rows(loaded, written(tmp_path, cells, "csv" if kind == "csv" else "parquet"))
    assert held is not None
    boundaries = fit([held.features], loaded).values
    exact = np.sort(texts.astype(np.float64))[np.arange(1, 8) * 6000 // 8].tolist()
    assert boundaries == {"x": exact}
    wanted = (1 + np.searchsorted(exact, texts.astype(np.float64), side="right")).tolist()
    for options in FILES.values():
        model, code = made(loaded, **options)
        code.set_boundaries(model, boundaries)
        for served in (held.features["x"], texts.astype(np.float32), texts.astype(np.float64)):
            assert rows(model, torch.from_numpy(served)) == wanted


def test_quantiles_of_milliseconds_are_those_of_the_column(tmp_path: Path) -> None:
    """In float32 all 6,000 would be one number."""
    times = np.random.default_rng(0).permutation(np.arange(6000) + 1_650_000_000_123)
    loaded, source = spec("{quantiles: 8}"), written(tmp_path, pa.array(times), "parquet")
    held = load_rows(loaded, source)
    assert held is not None
    boundaries = fit([held.features], loaded).values
    assert boundaries == {"x": (np.sort(times)[np.arange(1, 8) * 750]).astype(float).tolist()}
    model, code = made(loaded)
    code.set_boundaries(model, boundaries)
    assert np.bincount(rows(model, torch.from_numpy(times))).tolist() == [0, *[750] * 8]
    about = profile(loaded, source).features["x"]
    assert (about.low, about.high) == (times.min(), times.max())


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_check_data_counts_the_same_buckets(kind: type) -> None:
    numbers = np.repeat([0.1, 0.3, 0.35, 0.7], [900, 40, 30, 30]).astype(kind)
    found = FitPreview(numbers, quantile_boundaries(numbers, 16))
    assert (found.distinct, found.buckets) == (3, 4)
    assert found.boundaries[:4] == (0.3, 0.35, 0.7, 0.7)
    pair = np.array([0.1, 0.35], kind)
    assert FitPreview(pair, quantile_boundaries(pair, 3)).buckets == 2


# ---------------------------------------------------------------- what is refused


def test_points_in_time_are_refused_with_the_remedy(tmp_path: Path) -> None:
    loaded, cells = spec([0]), pa.array([0, None], pa.timestamp("us"))
    with pytest.raises(DataError, match=r"`x` is timestamp\[us\], not numbers: write it as whole"):
        load_rows(loaded, written(tmp_path, cells, "parquet"))
    with pytest.raises(DataError, match=r"`x` holds the text '1970-01-01 00:00:00.*, not numbers"):
        load_rows(loaded, written(tmp_path, cells, "csv"))


def test_float16_is_refused(tmp_path: Path) -> None:
    loaded, cells = spec([0.35]), pa.array(np.zeros(2, np.float16))
    with pytest.raises(DataError, match="`x` is halffloat, which has too few digits"):
        load_rows(loaded, written(tmp_path, cells, "parquet"))
    for options in FILES.values():
        model = homespec.build(loaded, **options)
        for dtype in (torch.float16, torch.bfloat16):
            with pytest.raises(ValueError, match=f"x is {dtype}, which has too few digits"):
                model({"x": torch.zeros(2, dtype=dtype)})


SOME = [0.25, 0.5]


@pytest.mark.parametrize(
    ("one", "other", "serves"),
    [
        (pa.array(SOME, pa.float32()), pa.array(SOME), False),
        (pa.array([1, 2]), pa.array(SOME, pa.float32()), False),
        (pa.array([SOME], pa.list_(pa.float32())), pa.array([SOME]), False),
        (pa.array([Decimal(1)]), pa.array(SOME), False),
        (pa.array([1, 2]), pa.array(SOME), True),
        (pa.array([1, 2], pa.int32()), pa.array([1, 2]), True),
        (pa.nulls(2), pa.array(SOME, pa.float32()), True),
    ],
)
def test_files_that_differ_do_not_change_each_others_numbers(
    tmp_path: Path, one: pa.Array, other: pa.Array, serves: bool
) -> None:
    """float32 read as float64 would fall below a boundary such as 0.35."""
    for name, cells in (("a.parquet", one), ("b.parquet", other)):
        pq.write_table(pa.table({"x": cells}), tmp_path / name)
    source = open_files([tmp_path])
    if serves:
        source.schema({"x": "feature `x`"}, frozenset("x"))
    else:
        with pytest.raises(DataError, match=r"b\.parquet: its column `x` is .* with one type"):
            source.schema({"x": "feature `x`"}, frozenset("x"))
    source.schema({"x": "task `x`"})


OPS = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq,
    "!=": operator.ne,
}  # fmt: skip
KINDS = {
    "float32": pa.float32(), "float64": pa.float64(), "decimal": pa.decimal128(12, 6),
    "text": pa.string(),
}  # fmt: skip


def labelled(label: str, **cells: pa.Array) -> list[float]:
    found = labels("task `t`", parse_label(label), pa.table(cells), binary=True)
    return [float(value) for value in found]


def cells_of(numbers: list[Decimal], kind: str) -> pa.Array:
    """The numbers as a column; as text in the form of a file."""
    made = [str(n) for n in numbers] if kind == "text" else numbers
    values = [float(n) for n in numbers] if kind.startswith("float") else made
    return pa.array(values, KINDS[kind])


@given(
    st.lists(st.integers(-9999, 9999), min_size=1, max_size=9),
    st.integers(-9999, 9999),
    st.sampled_from([0, 2, 4]),
    st.sampled_from(list(OPS)),
)
def test_a_label_compares_decimals_as_they_are_written(
    digits: list[int], other: int, places: int, op: str
) -> None:
    """A number of four digits, in any type, beside a number and beside a column of any type."""
    numbers = [Decimal(d).scaleb(-places) for d in (*digits, other)]
    number = Decimal(other).scaleb(-places)
    wanted = [float(OPS[op](n, number)) for n in numbers]
    for one in KINDS:
        column = cells_of(numbers, one)
        assert labelled(f"a {op} {number:f}", a=column) == wanted, one
        for two in KINDS:
            others = cells_of([number] * len(numbers), two)
            assert labelled(f"a {op} b", a=column, b=others) == wanted, (one, two)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=9), st.integers(-2, 2))
def test_a_label_compares_whole_numbers_exactly(numbers: list[int], step: int) -> None:
    """Of 64 bits, as integers and as the text of CSV: float64 takes neighbours for the same."""
    others = [min(max(n + step, -(2**63)), 2**63 - 1) for n in numbers]
    for op, holds in OPS.items():
        wanted = [float(holds(a, b)) for a, b in zip(numbers, others, strict=True)]
        for one in (pa.array(numbers), pa.array([str(n) for n in numbers])):
            for two in (pa.array(others), pa.array([f" {n} " for n in others])):
                assert labelled(f"a {op} b", a=one, b=two) == wanted
        assert labelled(f"a {op} 7", a=pa.array(numbers)) == [float(holds(a, 7)) for a in numbers]


@pytest.mark.parametrize(
    ("label", "cells", "wanted"),
    [
        ("a == b", {"a": pa.array([16777217]), "b": pa.array([2.0**24], pa.float32())}, [0]),
        ("a > 0", {"a": pa.array([0, 2**64 - 1], pa.uint64())}, [0, 1]),
        ("a >= 0.35", {"a": pa.array([0.35, None, float("nan")], pa.float32())}, [1, -1, -1]),
        ("a < b", {"a": pa.array(["true", "1e300"]), "b": pa.array(["2", "9e300"])}, [1, 1]),
    ],
)
def test_labels_at_the_edges_of_types(
    label: str, cells: dict[str, pa.Array], wanted: list[float]
) -> None:
    assert np.nan_to_num(labelled(label, **cells), nan=-1).tolist() == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_is_the_same_in_memory_and_in_csv(tmp_path: Path, kind: str) -> None:
    loaded = homespec.loads(
        "homespec: 1\nname: l\nfamily: shared_bottom\nfeatures: {x: {id: {vocab: 3}, dim: 2}}\n"
        "tasks: {y: {label: price <= 0.35}, z: {label: price >= 0.35}}\n"
    )
    prices = [Decimal("0.34"), Decimal("0.35"), Decimal("0.36")]
    rows = pa.table({"x": [0] * 3, "price": cells_of(prices, kind)})
    pq.write_table(rows, tmp_path / "a.parquet")
    written = rows.set_column(1, "price", rows["price"].cast(pa.string()))
    pa.csv.write_csv(written, tmp_path / "a.csv")
    for name in ("a.parquet", "a.csv"):
        held = load_rows(loaded, open_files([tmp_path / name]))
        assert held is not None
        assert {n: e.tolist() for n, e in held.labels.items()} == {"y": [1, 1, 0], "z": [0, 1, 1]}


@pytest.mark.parametrize("wide", [pa.float64(), pa.int64(), pa.int32()])
def test_ids_of_float32_are_not_widened_by_another_file(tmp_path: Path, wide: pa.DataType) -> None:
    """16777217 is 16777216 there, which is refused of float32 alone."""
    loaded = homespec.loads(
        "homespec: 1\nname: l\nfamily: shared_bottom\nfeatures: {x: {id: {vocab: 3}, dim: 2}}\n"
        "tasks: {y: {}, z: {}}\n"
    )
    for name, kind in (("a.parquet", wide), ("b.parquet", pa.float32())):
        cells = pa.array([3, 16777217]).cast(kind, safe=False)
        pq.write_table(pa.table({"x": cells, "y": [0, 1], "z": [0, 1]}), tmp_path / name)
    message = r"b\.parquet: its column `x` is float, but .* in .*: write the files with one type"
    with pytest.raises(DataError, match=message):
        load_rows(loaded, open_files([tmp_path]))
    with pytest.raises(DataError, match="write ids as int64 or text"):
        load_rows(loaded, open_files([tmp_path / "b.parquet"]))
    found = profile(loaded, open_files([tmp_path]))
    assert "write the files with one type" in found.features["x"].problem


def test_files_whose_labels_differ_in_precision_are_refused(tmp_path: Path) -> None:
    """float32 beside float64 is widened by pyarrow, and 0.35 no longer reaches 0.35."""
    for name, kind in (("a.parquet", pa.float32()), ("b.parquet", pa.float64())):
        cells = pa.array([0.34, 0.35], kind)
        pq.write_table(pa.table({"x": [0, 0], "score": cells, "z": [0, 1]}), tmp_path / name)
    loaded = homespec.loads(
        "homespec: 1\nname: l\nfamily: shared_bottom\nfeatures: {x: {id: {vocab: 3}, dim: 2}}\n"
        "tasks: {y: {label: score >= 0.35}, z: {}}\n"
    )
    with pytest.raises(DataError, match=r"b\.parquet: its column `score` is double, but float in"):
        load_rows(loaded, open_files([tmp_path]))
