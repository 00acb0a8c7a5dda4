"""How numbers are scaled: what is fitted, whatever the batches, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import homespec
from homespec.data import DataError
from homespec.data.data_files import open_files
from homespec.data.data_rules import check
from homespec.data.in_memory import load_rows
from homespec.data.profiled import ProfiledData
from homespec.data.profiler import profile
from homespec.data.scale_fit import BLOCK, Moments, ScaleFit, log_of

SPEC = """\
homespec: 1
name: s
family: mmoe
features:
  id: {{id: {{buckets: 10}}, dim: 2}}
  x: {{number: {{scale: {}}}}}
tasks: {{y: {{}}, z: {{}}}}
"""


def of(scale: str) -> Any:
    return homespec.loads(SPEC.format(scale))


def fitted(scale: str, *batches: Any) -> tuple[float, float]:
    fit = ScaleFit(of(scale))
    for batch in batches:
        fit.add({"x": np.asarray(batch)})
    return fit.scaling("x")


# ---------------------------------------------------------------- the numbers


def test_by_hand() -> None:
    assert fitted("standard", [1.0, 3.0, np.nan]) == (2.0, 1.0)
    assert fitted("minmax", [1.0, 3.0], [np.nan, -2.0]) == (-2.0, 5.0)
    offset, unit = fitted("log", [math.e - 1, 1 - math.e])
    assert (offset, unit) == pytest.approx((0.0, 1.0))
    assert log_of(np.array([0.0, 7.0, -7.0])).tolist() == [0.0, math.log(8), -math.log(8)]


@pytest.mark.parametrize("scale", ["standard", "log", "minmax"])
def test_batches_make_no_difference_to_the_last_bit(scale: str) -> None:
    numbers = np.random.default_rng(1).lognormal(3, 2, size=3 * BLOCK + 17)
    numbers[::7] = np.nan
    whole = fitted(scale, numbers)
    for size in (1000, BLOCK - 1, BLOCK, BLOCK + 1):
        assert (
            fitted(scale, *(numbers[i : i + size] for i in range(0, len(numbers), size))) == whole
        )


def test_times_in_milliseconds_lose_no_digits() -> None:
    """The mean is 10^7 times the deviation; sums of squares would have no digit of that left."""
    times = 1_700_000_000_000 + np.random.default_rng(2).integers(0, 10**5, 200_000)
    exact = times.astype(np.longdouble)
    offset, unit = fitted("standard", times)
    assert offset == pytest.approx(float(exact.mean()), rel=1e-15)
    assert unit == pytest.approx(float(exact.std()), rel=1e-10)


def test_float32_columns_are_fitted_in_float64() -> None:
    numbers = np.full(300_000, 0.1, np.float32)
    numbers[0] = 0.2
    offset, _ = fitted("standard", numbers)
    assert offset == pytest.approx(float(numbers.astype(np.float64).mean()), rel=1e-14)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([], "holds no number in 0 rows"),
        ([np.nan, np.nan], "the column `x` holds no number in 2 rows, so it cannot be scaled"),
        ([0.1] * 30, "the same number, 0.1, in every row"),
        ([7.0, 7.0, np.nan], "the same number, 7, in every row"),
        ([1e-150, 2e-150], "differ by less than 1e-100: choose another unit"),
    ],
)
@pytest.mark.parametrize("scale", ["standard", "log", "minmax"])
def test_what_cannot_be_scaled(scale: str, numbers: list[float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        fitted(scale, np.array(numbers))


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(
        DataError, match="column of the feature `x`, which must be scaled, is missing"
    ):
        ScaleFit(of("log")).add({"id": np.array([1])})


def test_moments_of_few_and_of_many_are_those_of_numpy() -> None:
    for count in (1, 5, BLOCK, 2 * BLOCK + 3):
        numbers = np.random.default_rng(count).normal(5, 3, count)
        moments = Moments()
        moments.add(numbers)
        assert moments.count == count
        assert moments.mean_and_deviation == pytest.approx((numbers.mean(), numbers.std()))


# ---------------------------------------------------------------- columns of files


def files(folder: Path, **columns: Any) -> Any:
    rows = len(next(iter(columns.values())))
    table = pa.table(
        {"id": [1] * rows, "y": [0, 1] * (rows // 2), "z": [1, 0] * (rows // 2), **columns}
    )
    pq.write_table(table, folder / "a.parquet")
    return open_files([folder / "a.parquet"])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2, None, 4]), pa.array([1.0, 2.0, math.nan, 4.0], pa.float32()),
        pa.array(["1", "2.0", "", "4"]), pa.array([1, 2, None, 4], pa.uint8()),
    ],
)  # fmt: skip
def test_parquet_and_csv_give_the_same(tmp_path: Path, column: Any) -> None:
    table = pa.table({"id": [1] * 4, "y": [0, 1] * 2, "z": [1, 0] * 2, "x": column})
    pq.write_table(table, tmp_path / "a.parquet")
    pyarrow.csv.write_csv(table, tmp_path / "a.csv")
    for name in ("a.parquet", "a.csv"):
        rows = load_rows(of("standard"), open_files([tmp_path / name]))
        assert rows is not None
        assert np.array_equal(rows.features["x"], [1.0, 2.0, np.nan, 4.0], equal_nan=True)


@pytest.mark.parametrize(
    ("number", "said"),
    [(math.inf, "holds inf, which the model cannot use"), (-1e39, "too large for float32")],
)
@pytest.mark.parametrize("scale", ["none", "log"])
def test_infinite_and_huge_numbers_are_refused(
    tmp_path: Path, scale: str, number: float, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        load_rows(of(scale), files(tmp_path, x=[1.0, 2.0, number, 3.0]))


def found(folder: Path, scale: str, numbers: Any) -> list[Any]:
    loaded, source = of(scale), files(folder, x=numbers)
    return check(ProfiledData(loaded, loaded.analysis.document, profile(loaded, source)))


def by_code(folder: Path, scale: str, numbers: Any) -> dict[str, Any]:
    return {one.rule.code: one for one in found(folder, scale, numbers) if one.rule.code > "HS513"}


def constant(folder: Path, scale: str) -> bool:
    """Whether a column of one number is called constant."""
    return any(
        one.rule.code == "HS506" and "`x`" in one.message
        for one in found(folder, scale, [3.0] * 10)
    )


@pytest.mark.parametrize("scale", ["standard", "log", "minmax"])
def test_check_data_names_what_cannot_be_scaled(tmp_path: Path, scale: str) -> None:
    one = by_code(tmp_path, scale, [3.0] * 10)["HS520"]
    assert "`x` holds the same number, 3, in every row" in one.message
    assert one.help == "remove the feature, or write `scale: none`"
    assert one.span.start.line == 6
    assert not constant(tmp_path, scale)
    assert "HS520" in by_code(tmp_path, scale, pa.nulls(10, pa.float64()))
    assert "HS520" not in by_code(tmp_path, scale, np.arange(10.0))
    assert constant(tmp_path, "none")


def test_check_data_names_rows_far_from_the_others(tmp_path: Path) -> None:
    numbers = np.append(np.random.default_rng(0).random(9999), 1e6)
    for scale in ("standard", "minmax"):
        one = by_code(tmp_path, scale, numbers)["HS521"]
        assert "holds 1e+06, 100 standard deviations from the mean" in one.message
        assert "`scale: log`" in one.help
    assert not by_code(tmp_path, "log", np.append(np.random.default_rng(0).random(9999), 1e6))
    assert not by_code(tmp_path, "standard", np.random.default_rng(0).normal(size=10_000))


@pytest.mark.parametrize("scale", ["standard", "none"])
def test_float16_is_a_number_like_others(tmp_path: Path, scale: str) -> None:
    """It has too few digits to be compared with boundaries, and a scaled number has none."""
    short = np.array([0.35, 2.0, -7.5, 0.0], np.float16)
    rows = load_rows(of(scale), files(tmp_path, x=pa.array(short)))
    wide = load_rows(of(scale), files(tmp_path, x=short.astype(np.float32)))
    assert rows.features["x"].tolist() == wide.features["x"].tolist() == short.tolist()
